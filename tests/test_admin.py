"""What holds for every page of the admin: it is there, it asks little, it never breaks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse

from automations.models import Attempt, Automation, Backtest, Delivery, Execution
from registry.models import ArtifactFile, ArtifactVersion, Collection, Registry, VersionTag
from registry.services.collections import set_registry_member, tag_collection
from registry.services.versions import create_version, link_version
from runs import clock
from runs.models import Project, Role, Run, SweepClock, Team, User
from runs.services import people
from runs.services.runs import crash_silent_runs
from tests.adminpages import Pages, errors, notes, text
from tests.cast import Cast, new_run, person, rule, webhook
from tests.furniture import OURS, furnish, staff, superuser


def person_in_all(name: str, *, is_superuser: bool) -> User:
    """A superuser, or a staff member who is an admin of every team and registry there is.

    Each has tried a rule: such a trial is its maker's own.
    """
    user = User(username=name, is_staff=True, is_superuser=is_superuser)
    user.save()
    for team in Team.objects.all():
        people.set_member(team, user, role=Role.ADMIN)
    for models in Registry.objects.all():
        set_registry_member(models, user, role=Role.ADMIN)
    Backtest.objects.create(created_by=user, draft={}, created_at=clock.now())
    return user


def asked(pages: Pages) -> dict[str, int]:
    """How many queries each list takes, each page of one row, and each page for adding one."""
    counts = {}
    for model in OURS:
        if model is SweepClock:  # one row, for superusers
            continue
        query = {"deleted": "any"} if model in {Run, Collection} else {}
        answer, counts[f"list of {model.__name__}"] = pages.counted(pages.list_url(model, **query))
        row = list(answer.context["cl"].result_list)[-1]
        counts[f"page of {model.__name__}"] = pages.queries(pages.change_url(row))
        answer, count = pages.counted(pages.add_url(model))
        if answer.status_code == 200:
            counts[f"new {model.__name__}"] = count
    return counts


# --- All models -----------------------------------------------------------------------------------


def test_every_model_has_its_pages_and_groups_of_permissions_have_none() -> None:
    missing = [model.__name__ for model in OURS if not admin.site.is_registered(model)]
    assert len(OURS) >= 35
    assert missing == []
    assert not admin.site.is_registered(Group)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("is_superuser", [True, False])
def test_no_page_asks_more_with_thirty_of_everything_than_with_three(
    penguins: Cast, files: Path, is_superuser: bool
) -> None:
    for name in ("lions", "pandas", "seals"):
        furnish(name)
    crash_silent_runs()
    pages = Pages(person_in_all("grace", is_superuser=is_superuser))
    ContentType.objects.get_for_models(*OURS)  # read once per process
    few = {model: model.objects.count() for model in OURS}
    before = asked(pages)
    for i in range(27):
        furnish(f"herd-{i}")
    pages = Pages(person_in_all("mary", is_superuser=is_superuser))
    more = {model: model.objects.count() for model in OURS}
    # One row each by design: the organization, its feed, the sweep's clock.
    alone = {model.__name__ for model in OURS if more[model] <= few[model]}
    assert alone == {"Organization", "Feed", "SweepClock"}
    assert all(more[model] >= 30 for model in OURS if model.__name__ not in alone)
    assert asked(pages) == before
    assert len(before) > 80


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
    crowd(*rows, more=30)
    assert [pages.queries(url) for url in urls] == before


def crowd(
    team: Any, models: Any, linked: Any, version: Any, automation: Any, *history: Any, more: int
) -> None:
    """So many more rows within each of these pages, of distinct people, versions and integrations."""
    execution, delivery, run = history
    for i in range(more):
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
        Execution.objects.create(
            automation=automation,
            automation_name=automation.name,
            event_type=automation.event_type,
            dedup_key=f"more-{i}",
            state="finished",
            team=team,
            organization=team.organization,
            run=new_run(run.project),
            created_at=clock.now(),
        )
        run.status_changes.create(seq=100 + i, status="running", received_at=clock.now(), actor=user)


# --- How it fails ---------------------------------------------------------------------------------


HUGE = "9" * 30


@pytest.mark.parametrize(
    "query",
    [
        "status__exact=nonsense",
        "project__id__exact=nonsense",
        f"project__id__exact={HUGE}",
        "created_at__year=9999",
        f"created_at__year={HUGE}",
        "created_at__year=2026&created_at__month=13",
        "p=99999999",
        "o=99.-1.x",
        "q=%F0%9F%90%A7'\"",
        "deleted=nonsense",
        "_facets=True",
    ],
)
def test_a_strange_query_string_shows_the_list(penguins: Cast, query: str) -> None:
    new_run(penguins.project)
    pages = Pages(superuser(penguins.ada))
    answer = pages.client.get(f"{pages.list_url(Run)}?{query}", follow=True)
    assert answer.status_code == 200
    assert "cl" in answer.context


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("runs/run/nonsense/change/", 302),
        (f"runs/run/{HUGE}/change/", 302),
        (f"runs/run/{HUGE}/history/", 302),
        (f"runs/run/{HUGE}/delete/", 302),
        ("runs/run/?_to_field=status", 400),
        ("runs/run/?nonsense=1", 400),
        ("automations/automation/add/?project=nonsense", 200),
        (f"automations/automation/add/?collection={HUGE}", 200),
        ("automations/automation/add/?event=x&preset=y&metric=%F0%9F%90%A7&source=z&organization=-1", 200),
        ("autocomplete/?app_label=runs&model_name=project&field_name=team&page=99", 404),
        ("autocomplete/?app_label=runs&model_name=project&field_name=name", 403),
    ],
)
def test_a_strange_address_is_no_server_error(penguins: Cast, address: str, status: int) -> None:
    pages = Pages(superuser(penguins.ada))
    assert pages.client.get(reverse("admin:index") + address).status_code == status


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"action": ["x", HUGE, "-1", "1.5"]},
        {"action": [str(n) for n in range(300)]},
        {"action": "0", "action-0-type": "webhook", "action-0-integration": HUGE},
        {"event": "run_status", "condition-shown": "nonsense", "condition-statuses": ["\x00"]},
        {"scope": f"project:{HUGE}", "find": "\x00", "period": "seconds", "seconds": HUGE},
        {"executions-TOTAL_FORMS": "x", "executions-0-id": HUGE},
    ],
)
def test_a_form_that_was_tampered_with_is_refused(penguins: Cast, data: dict[str, Any]) -> None:
    pages = Pages(superuser(penguins.ada))
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    for url in (pages.add_url(Automation), pages.change_url(made)):
        assert errors(pages.client.post(url, data))
        for command in ("add", "remove:x", f"payload:{HUGE}:github", "inbox:0", "payload:0:", "nonsense"):
            assert pages.client.post(url, data | {"do": command}).status_code == 200
    assert Automation.objects.get().actions.count() == 1


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
    assert len(opened) > 50
    assert {url: status for url, status in opened.items() if status != 200} == {}


def test_the_front_page_lists_the_models(penguins: Cast) -> None:
    pages = Pages(staff(penguins.vera))
    page = text(pages.client.get(reverse("admin:index")))
    assert "Automations" in page
    assert "Sweep clocks" not in page
