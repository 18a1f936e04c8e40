"""Who sees what in the admin, and who may do what."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib import admin
from django.db.models import Model

from automations.models import Inbox, Integration, Secret
from registry.models import (
    ArtifactVersion,
    Collection,
    Registry,
)
from registry.services.collections import set_registry_member
from runs.models import ApiKey, Project, Role, Run, Team, User
from runs.services import people
from runs.services.projects import create_project
from tests.adminpages import Pages, errors, notes, text
from tests.cast import Cast, new_run, person, rule, secret, sends, webhook
from tests.furniture import OURS, furnish, staff, superuser

pytestmark = pytest.mark.once

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


AUTOCOMPLETES = [
    (model, field) for model, page in admin.site._registry.items() for field in page.autocomplete_fields
]


def test_the_autocompletes_are_those_that_one_would_think_of() -> None:
    named = {f"{model.__name__}.{field}" for model, field in AUTOCOMPLETES}
    assert {"Secret.team", "Integration.team", "Membership.version", "Alias.collection"} <= named
    assert len(AUTOCOMPLETES) >= 13


@pytest.mark.parametrize(
    ("model", "field"), [pytest.param(*each, id=f"{each[0].__name__}.{each[1]}") for each in AUTOCOMPLETES]
)
def test_autocompletes_offer_and_accept_what_the_person_sees(
    two_teams: Cast, model: type[Model], field: str
) -> None:
    root, ada = Pages(superuser(person("root"))), Pages(two_teams.ada)
    theirs = [pk for pk, name in root.suggested(model, field).items() if "lions" in name]
    assert theirs
    assert not any("lions" in name for name in ada.offered(model, field))
    assert ada.offered(model, field, term="lions") == []
    pointing = model._default_manager.filter(**{field: theirs[0]})
    before, url = pointing.count(), ada.add_url(model)
    found = ada.form(url).fields
    answer = ada.client.post(url, {**found, "name": "new", field: theirs[0]})
    if field in found:  # whose a key is, only superusers choose
        assert "Select a valid choice" in str(errors(answer)[field])
    assert pointing.count() == before


def test_no_page_for_adding_offers_anything_of_another_team(two_teams: Cast) -> None:
    pages = Pages(two_teams.ada)
    opened = {model: pages.client.get(pages.add_url(model)) for model in OURS}
    allowed = {model: answer for model, answer in opened.items() if answer.status_code == 200}
    assert len(allowed) >= 13
    assert [model for model, answer in allowed.items() if "lions" in answer.content.decode()] == []


def test_selects_and_filters_offer_what_the_person_sees(two_teams: Cast) -> None:
    hook = webhook(two_teams.team, "https://example.com", name="ours")
    ours = rule(two_teams.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook))
    pages = Pages(two_teams.ada)
    choices = pages.form(pages.change_url(ours)).options["action-0-integration"].values()
    assert "ours" in choices
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


# --- What nobody sees ------------------------------------------------------------------------------


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
