"""What holds for every page of the admin: who sees what, how often the database is asked, how it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.urls import reverse

from automations.models import (
    Attempt,
    Automation,
    Delivery,
    Execution,
    Inbox,
    Integration,
    Secret,
)
from automations.services import targets
from registry.models import (
    Alias,
    ArtifactFile,
    ArtifactVersion,
    Collection,
    CollectionTag,
    Membership,
    Registry,
    VersionState,
    VersionTag,
)
from registry.services.collections import set_alias, set_registry_member, tag_collection
from registry.services.files import put_file
from registry.services.versions import commit_version, create_version, link_version
from runs import clock
from runs.models import (
    ApiKey,
    Project,
    Role,
    Run,
    SweepClock,
    Team,
    User,
)
from runs.services import people
from runs.services.projects import create_project
from runs.services.runs import crash_silent_runs
from tests.adminpages import Pages, errors, notes, text
from tests.cast import (
    Cast,
    collection,
    decide,
    log,
    new_run,
    person,
    registry,
    rule,
    secret,
    sends,
    webhook,
)

OURS: list[Any] = [
    model for app in ("runs", "registry", "automations") for model in apps.get_app_config(app).get_models()
]


def staff(user: User) -> User:
    user.is_staff = True
    user.save()
    return user


def superuser(user: User) -> User:
    user.is_staff = user.is_superuser = True
    user.save()
    return user


def furnish(name: str) -> Team:
    """One row of every model at least, none of them shared with the furniture of another name."""
    owner = person(f"owner-{name}")
    team = people.create_team(name, owner=owner)
    people.create_key(owner, f"key {name}")
    people.create_service_key(team, f"service {name}")
    project = create_project(team, f"project-{name}")
    hook = webhook(
        team,
        "https://example.com/hook",
        name=f"hook {name}",
        access_token=secret(team, "TOKEN", f"token-of-{name}"),
        signing_secret=secret(team, "SIGNING", f"signing-of-{name}"),
    )
    inbox = targets.save_inbox(Inbox(team=team, name=f"inbox {name}"))
    targets.receive(inbox, headers={"X-From": name}, body=b"{}")
    for scope in (project, team):
        rule(scope, "run_status", {"statuses": ["running"]}, name=f"status {name}", actions=sends(hook))
    run = new_run(project, user=owner, name=f"run {name}")
    log(run, "loss", [0.1, 0.9])
    furnish_artifacts(name, project, run, owner)
    decide()
    for delivery in Delivery.objects.filter(integration=hook):
        Attempt.objects.create(
            delivery=delivery, number=1, started_at=clock.now(), duration=0.1, status_code=500
        )
    return team


def furnish_artifacts(name: str, project: Project, run: Run, owner: User) -> None:
    made = collection(project, f"made-{name}")
    models = registry(f"registry-{name}", owner=owner)
    linked = collection(models, f"linked-{name}")
    rule(models, "alias_added", {"alias": "."}, name=f"alias {name}")
    rule(linked, "alias_added", {"alias": "."}, name=f"alias {name}")
    draft, _created = create_version(
        made, actor=owner, run=run, tags=[f"tag-{name}"], state=VersionState.PENDING
    )
    put_file(draft, f"{name}.bin", BytesIO(name.encode()))
    version = commit_version(draft, actor=owner)
    link_version(linked, version, actor=owner)
    set_alias(linked, "production", version, actor=owner)
    tag_collection(made, "good", actor=owner)


def person_in_all(name: str, *, is_superuser: bool) -> User:
    """A superuser, or a staff member who is an admin of every team and registry there is."""
    user = User(username=name, is_staff=True, is_superuser=is_superuser)
    user.save()
    for team in Team.objects.all():
        people.set_member(team, user, role=Role.ADMIN)
    for models in Registry.objects.all():
        set_registry_member(models, user, role=Role.ADMIN)
    return user


def asked(pages: Pages) -> dict[str, int]:
    """How many queries each list takes, and each page of one row that has rows within it."""
    counts = {}
    for model in OURS:
        if model is not SweepClock:  # one row, for superusers
            url = (
                pages.list_url(model, deleted="any") if model in {Run, Collection} else pages.list_url(model)
            )
            counts[f"list of {model.__name__}"] = pages.queries(url)
            if admin.site.get_model_admin(model).inlines:
                counts[f"page of {model.__name__}"] = pages.queries(pages.change_url(model.objects.first()))
    return counts


# --- All models -----------------------------------------------------------------------------------


def test_every_model_has_its_pages_and_groups_of_permissions_have_none() -> None:
    missing = [model.__name__ for model in OURS if not admin.site.is_registered(model)]
    assert len(OURS) >= 35
    assert missing == []
    assert not admin.site.is_registered(Group)


@pytest.mark.parametrize("is_superuser", [True, False])
def test_no_list_asks_more_when_it_is_longer(penguins: Cast, files: Path, is_superuser: bool) -> None:
    for name in ("lions", "pandas"):
        furnish(name)
    crash_silent_runs()
    pages = Pages(person_in_all("grace", is_superuser=is_superuser))
    ContentType.objects.get_for_models(*OURS)  # read once per process
    few = {model: model.objects.count() for model in OURS}
    before = asked(pages)
    for name in ("tigers", "bears", "whales"):
        furnish(name)
    pages = Pages(person_in_all("mary", is_superuser=is_superuser))
    more = {model: model.objects.count() for model in OURS}
    # One row each by design: the organization, its feed, the sweep's clock.
    alone = {model.__name__ for model in OURS if more[model] <= few[model]}
    assert alone == {"Organization", "Feed", "SweepClock"}
    assert 0 not in more.values()
    assert asked(pages) == before


def test_no_page_asks_more_when_it_holds_more_rows(penguins: Cast, files: Path) -> None:
    pages = Pages(superuser(penguins.ada))
    team = furnish("lions")
    rows = [
        team,
        Registry.objects.get(),
        Collection.objects.get(registry__isnull=False),
        ArtifactVersion.objects.get(),
        Automation.objects.get(project__team=team),
        Execution.objects.filter(deliveries__isnull=False).first(),
        Delivery.objects.first(),
        Run.objects.get(),
    ]
    urls = [pages.change_url(row) for row in rows if row is not None]
    assert len(urls) == 8
    ContentType.objects.get_for_models(*OURS)  # read once per process
    before = [pages.queries(url) for url in urls]
    crowd(*rows)
    assert [pages.queries(url) for url in urls] == before


def crowd(team: Any, models: Any, linked: Any, version: Any, automation: Any, *history: Any) -> None:
    """Several more rows within each of these pages, of distinct people, versions and integrations."""
    execution, delivery, run = history
    for i in range(5):
        user = person(f"friend-{i}")
        people.set_member(team, user, role=Role.VIEWER)
        set_registry_member(models, user, role=Role.VIEWER)
        other, _created = create_version(version.home, actor=user)
        link_version(linked, other, aliases=[f"alias-{i}"], actor=user)
        tag_collection(linked, f"tag-{i}", actor=user)
        VersionTag.objects.create(version=version, name=f"tag-{i}")
        ArtifactFile.objects.create(version=version, path=f"{i}", size=1, digest="d", content="c")
        hook = webhook(team, "https://example.com", name=f"hook-{i}")
        automation.actions.create(position=i + 1, type="webhook", integration=hook, config={"payload": {}})
        Delivery.objects.create(
            execution=execution, integration=hook, type="webhook", body="", created_at=clock.now()
        )
        Attempt.objects.create(delivery=delivery, number=i + 2, started_at=clock.now(), duration=0.1)
        run.status_changes.create(seq=100 + i, status="running", received_at=clock.now(), actor=user)


# --- Who sees what --------------------------------------------------------------------------------


@pytest.fixture
def two_teams(penguins: Cast, files: Path) -> Cast:
    """The penguins as they are, the lions with everything, in a registry that only its members see."""
    furnish("lions")
    Registry.objects.update(visibility="restricted")
    penguins.ada.is_staff = True
    penguins.ada.save()
    return penguins


def test_staff_see_nothing_of_another_team(two_teams: Cast) -> None:
    pages = Pages(two_teams.ada)
    hidden = {}
    for model in OURS:
        if model.__name__ in {"Organization", "Feed"}:
            continue  # shared by all teams
        page = pages.open_list(model, **({"deleted": "any"} if model in {Run, Collection} else {}))
        if model.__name__ == "SweepClock":
            assert page.status_code == 403
            continue
        assert page.status_code == 200
        assert "lions" not in text(page), model
        hidden[model] = model.objects.count() - len(page.context["cl"].result_list)
    assert [model.__name__ for model, count in hidden.items() if not count] == []


def test_staff_cannot_open_or_delete_what_another_team_holds(two_teams: Cast) -> None:
    pages = Pages(two_teams.ada)
    theirs = [model.objects.last() for model in OURS if model.__name__ not in {"Organization", "Feed"}]
    mine = {Team: two_teams.team, Project: two_teams.project, User: two_teams.max}
    theirs += [Team.objects.get(name="lions"), User.objects.get(username="owner-lions")]
    opened = 0
    for row in theirs:
        if row is None or row in mine.values() or row in {two_teams.ada, two_teams.vera}:
            continue
        for url in (pages.change_url(row), pages.delete_url(row)):
            answer = pages.client.get(url, follow=True)
            assert "lions" not in text(answer), url
            answer = pages.client.post(url, {"post": "yes"}, follow=True)
            assert "lions" not in text(answer), url
        assert type(row).objects.filter(pk=row.pk).exists(), row
        opened += 1
    assert opened > 25
    for row in mine.values():
        assert pages.client.get(pages.change_url(row)).status_code == 200


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (Project, "team"),
        (Collection, "project"),
        (Collection, "registry"),
        (Alias, "collection"),
        (CollectionTag, "collection"),
        (Membership, "version"),
        (VersionTag, "version"),
        (Automation, "project"),
        (Automation, "registry"),
        (Automation, "collection"),
        (Automation, "team"),
        (ApiKey, "user"),
        (Secret, "team"),
        (Integration, "team"),
    ],
)
def test_autocompletes_offer_what_the_person_sees(two_teams: Cast, model: type[Model], field: str) -> None:
    everything = Pages(superuser(person("root"))).offered(model, field)
    assert any("lions" in name for name in everything)
    assert not any("lions" in name for name in Pages(two_teams.ada).offered(model, field))


def test_selects_and_filters_offer_what_the_person_sees(two_teams: Cast) -> None:
    hook = webhook(two_teams.team, "https://example.com", name="ours")
    ours = rule(two_teams.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook))
    pages = Pages(two_teams.ada)
    choices = pages.form(pages.change_url(ours)).options["actions-0-integration"].values()
    assert "penguins/ours" in choices
    assert not any("lions" in choice for choice in choices)
    people.set_member(two_teams.otters, two_teams.ada, role=Role.VIEWER)
    changelist = pages.open_list(Project).context["cl"]
    (by_team,) = changelist.filter_specs
    offered = {str(choice["display"]) for choice in by_team.choices(changelist)}
    assert offered == {"All", "penguins", "otters"}


def test_a_foreign_key_to_another_team_is_a_form_error(two_teams: Cast) -> None:
    pages = Pages(two_teams.ada)
    lions = Team.objects.get(name="lions")
    refused = pages.save(pages.add_url(Project), team=lions.pk, name="den")
    assert "Select a valid choice" in errors(refused)["team"][0]
    assert "lions" not in text(refused)
    assert not Project.objects.filter(name="den").exists()


def test_the_source_of_a_linked_version_stays_hidden_from_those_who_only_see_the_registry(
    two_teams: Cast,
) -> None:
    set_registry_member(Registry.objects.get(), two_teams.ada, role=Role.MEMBER)
    pages = Pages(two_teams.ada)
    (version,) = pages.shown(ArtifactVersion)
    for page in (pages.open_list(ArtifactVersion), pages.client.get(pages.change_url(version))):
        assert page.status_code == 200
        assert "project-lions" not in text(page)
        assert "run lions" not in text(page)
    root = Pages(superuser(person("root")))
    assert "project-lions" in text(root.client.get(root.change_url(version)))


def test_people_who_are_not_staff_stay_outside(penguins: Cast) -> None:
    answer = Pages(penguins.ada).open_list(Run)
    assert answer.status_code == 302
    assert "login" in answer["Location"]


# --- Who may do what ------------------------------------------------------------------------------


def test_a_viewer_looks_and_does_not_touch(penguins: Cast) -> None:
    run = new_run(penguins.project, user=penguins.max)
    pages = Pages(staff(penguins.vera))
    assert pages.client.get(pages.change_url(run)).status_code == 200
    assert pages.client.post(pages.change_url(run), {"name": "other", "status": "failed"}).status_code == 403
    assert pages.client.post(pages.delete_url(run), {"post": "yes"}).status_code == 403
    assert pages.client.get(pages.add_url(Project)).status_code == 403
    pages.act(Run, "mark_failed", [run])
    run.refresh_from_db()
    assert (run.status, run.deleted_at) == ("running", None)


def test_a_member_writes_runs_but_not_members_secrets_or_integrations(penguins: Cast) -> None:
    run = new_run(penguins.project)
    hook = webhook(penguins.team, "https://example.com", access_token=secret(penguins.team, "TOKEN", "x"))
    pages = Pages(staff(penguins.max))
    assert pages.save(pages.change_url(run), name="renamed").status_code == 302
    assert Run.objects.get().name == "renamed"
    for row in (hook, Secret.objects.get(), penguins.team):
        assert pages.client.get(pages.change_url(row)).status_code == 200
        assert pages.client.post(pages.change_url(row), {"name": "mine"}).status_code == 403
    pages.act(Integration, "disable", [hook])
    assert Integration.objects.get().healthy
    assert pages.client.get(pages.add_url(Secret)).status_code == 403


def test_an_admin_of_one_team_is_none_of_another(penguins: Cast) -> None:
    people.set_member(penguins.otters, penguins.ada, role=Role.VIEWER)
    pages = Pages(staff(penguins.ada))
    seen = new_run(create_project(penguins.otters, "river"))
    own = new_run(penguins.project)
    assert pages.client.post(pages.change_url(seen), {"name": "mine"}).status_code == 403
    # The action is offered, because of the other team; it stops at the first run too many, and undoes all.
    assert "does not allow" in notes(pages.act(Run, "mark_killed", [own, seen]))
    assert set(Run.objects.values_list("status", flat=True)) == {"running"}
    refused = pages.save(pages.add_url(Project), team=penguins.otters.pk, name="dam")
    assert "does not allow" in errors(refused)["__all__"][0]


# --- How it fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "status__exact=nonsense",
        "project__id__exact=nonsense",
        "project__id__exact=99999999999999999999999",
        "created_at__year=9999",
        "created_at__year=99999999999",
        "p=99999999",
        "o=99.-1.x",
        "q=%F0%9F%90%A7",
        "deleted=nonsense",
        "_facets=True",
    ],
)
def test_a_strange_query_string_is_no_server_error(penguins: Cast, query: str) -> None:
    new_run(penguins.project)
    pages = Pages(superuser(penguins.ada))
    answer = pages.client.get(f"{pages.list_url(Run)}?{query}", follow=True)
    assert answer.status_code == 200
    assert "cl" in answer.context


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (Secret, "ciphertext__startswith"),
        (Integration, "url_ciphertext__startswith"),
        (Integration, "access_token__ciphertext__startswith"),
        (ApiKey, "digest__startswith"),
        (User, "password__startswith"),
        (Inbox, "token__startswith"),
    ],
)
def test_a_query_string_cannot_read_out_a_hidden_column(
    penguins: Cast, model: type[Model], lookup: str
) -> None:
    pages = Pages(superuser(penguins.ada))
    assert pages.client.get(f"{pages.list_url(model)}?{lookup}=a").status_code == 400


def test_secrets_ciphertexts_and_digests_are_shown_nowhere(penguins: Cast, files: Path) -> None:
    furnish("lions")
    pages = Pages(superuser(penguins.ada))
    hidden = {
        "token-of-lions",
        "signing-of-lions",
        "https://example.com/hook",
        *Secret.objects.values_list("ciphertext", flat=True),
        *Integration.objects.values_list("url_ciphertext", flat=True),
        *ApiKey.objects.values_list("digest", flat=True),
        *User.objects.exclude(password__startswith="!").values_list("password", flat=True),
    }
    looked_at = 0
    for model in OURS:
        for row in [None, *model.objects.all()[:2]]:
            url = pages.change_url(row) if row else pages.list_url(model)
            shown = pages.client.get(url).content.decode()
            assert [value for value in hidden if value in shown] == [], url
            looked_at += 1
    assert looked_at > 75


def test_a_choice_that_is_no_id_is_a_form_error(penguins: Cast) -> None:
    pages = Pages(superuser(penguins.ada))
    for team in ("penguins", "-1", "9" * 30, "1; drop"):
        found = errors(pages.save(pages.add_url(Project), team=team, name="x"))
        assert "Select a valid choice" in found["team"][0]
    assert pages.client.get(pages.add_url(Project) + "?team=penguins").status_code == 200


def test_chosen_rows_that_are_no_ids_are_refused(penguins: Cast) -> None:
    run = new_run(penguins.project)
    answer = Pages(superuser(penguins.ada)).act(Run, "mark_failed", ["nonsense", run])
    assert "Choose rows" in notes(answer)
    assert Run.objects.get().status == "running"


def test_a_protected_row_gives_a_message(penguins: Cast) -> None:
    new_run(penguins.project)
    pages = Pages(superuser(penguins.ada))
    assert "waddle" in text(pages.delete(penguins.team))
    pages.act(Team, "delete_selected", [penguins.team])
    pages.delete(penguins.project)
    assert Project.objects.filter(pk=penguins.project.pk).exists()
    assert Team.objects.filter(pk=penguins.team.pk).exists()


# --- The look -------------------------------------------------------------------------------------


def test_one_module_knows_unfold() -> None:
    root = Path(__file__).parent.parent
    sources = [
        path for app in ("config", "runs", "registry", "automations") for path in (root / app).rglob("*.py")
    ]
    knowing = [
        str(path.relative_to(root))
        for path in sources
        if re.search(r"^\s*(from|import) unfold", path.read_text(), re.MULTILINE)
    ]
    assert len(sources) > 50
    assert knowing == ["config/adminbase/theme.py"]


def test_without_unfold_the_pages_are_those_of_plain_django(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.plainadmin"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.plainadmin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    opened = json.loads(done.stdout)
    assert len(opened) > 45
    assert {url: status for url, status in opened.items() if status != 200} == {}


def test_the_front_page_lists_the_models(penguins: Cast) -> None:
    pages = Pages(staff(penguins.vera))
    page = text(pages.client.get(reverse("admin:index")))
    assert "Automations" in page
    assert "Sweep clocks" not in page
