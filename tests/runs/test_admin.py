"""People, keys, projects and runs in the admin: every write is a service's, once."""

from __future__ import annotations

import re

import pytest

from automations.models import Event
from runs.models import (
    ApiKey,
    Member,
    Organization,
    Project,
    Role,
    Run,
    RunStatus,
    RunStatusChange,
    Team,
    User,
)
from runs.services import people
from runs.services.people import digest_of
from runs.services.runs import delete_run, set_status
from tests.adminpages import Pages, errors, notes, text
from tests.cast import Cast, new_run, person


@pytest.fixture
def ada(penguins: Cast) -> Pages:
    """Ada, admin of the penguins and one of the staff."""
    penguins.ada.is_staff = True
    penguins.ada.save()
    return Pages(penguins.ada)


@pytest.fixture
def root(penguins: Cast) -> Pages:
    return Pages(User.objects.create(username="root", is_staff=True, is_superuser=True))


def changes(run: Run) -> list[tuple[str, str]]:
    """The run's status changes after its creation, with who made them."""
    rows = RunStatusChange.objects.filter(run=run).exclude(old_status="").select_related("actor")
    return [(row.status, row.actor.username if row.actor else "") for row in rows]


# --- Runs -----------------------------------------------------------------------------------------


def test_a_status_set_in_the_form_is_one_change_and_one_event(penguins: Cast, ada: Pages) -> None:
    run = new_run(penguins.project)
    events = Event.objects.count()
    assert ada.save(ada.change_url(run), status="failed").status_code == 302
    assert changes(run) == [("failed", "ada")]
    assert Event.objects.count() == events + 1


def test_a_form_saved_unchanged_changes_nothing(penguins: Cast, ada: Pages) -> None:
    run = new_run(penguins.project)
    events = Event.objects.count()
    assert ada.save(ada.change_url(run)).status_code == 302
    assert changes(run) == []
    assert Event.objects.count() == events


def test_a_bulk_action_is_one_change_for_each_run_that_changes(penguins: Cast, ada: Pages) -> None:
    running, failed = new_run(penguins.project), new_run(penguins.project, status=RunStatus.FAILED)
    events = Event.objects.count()
    assert "1 run changed" in notes(ada.act(Run, "mark_failed", [running, failed]))
    assert (changes(running), changes(failed)) == ([("failed", "ada")], [])
    assert Event.objects.count() == events + 1


def test_a_run_that_ended_while_its_page_was_open_does_not_start_again(penguins: Cast, ada: Pages) -> None:
    run = new_run(penguins.project)
    opened = ada.form(ada.change_url(run)).fields
    set_status(run, RunStatus.FINISHED, actor=None)
    assert ada.client.post(ada.change_url(run), {**opened, "name": "renamed"}).status_code == 302
    run.refresh_from_db()
    assert (run.name, run.status) == ("renamed", "finished")


def test_a_run_renamed_and_ended_at_once_ends_under_its_new_name(penguins: Cast, ada: Pages) -> None:
    run = new_run(penguins.project, name="old")
    ada.save(ada.change_url(run), name="new", status="finished")
    assert RunStatusChange.objects.get(run=run, status="finished").run_name == "new"


@pytest.mark.parametrize("name", ["a\x00b", " ", "line\nbreak", "x" * 251])
def test_a_name_that_is_none_is_a_form_error(penguins: Cast, ada: Pages, name: str) -> None:
    run = new_run(penguins.project, name="good")
    assert "name" in errors(ada.save(ada.change_url(run), name=name, status="failed"))
    run.refresh_from_db()
    assert (run.name, run.status) == ("good", "running")


def test_deleting_hides_runs_and_restoring_brings_them_back(penguins: Cast, ada: Pages) -> None:
    one, two = new_run(penguins.project), new_run(penguins.project)
    ada.delete(one)
    ada.act(Run, "delete_selected", [two])
    assert Run.objects.exclude(deleted_at=None).count() == 2
    assert ada.shown(Run) == []
    assert ada.client.post(ada.change_url(one), {"name": "x", "status": "failed"}).status_code == 403
    assert "2 runs restored" in notes(ada.act(Run, "restore", [one, two], deleted="yes"))
    assert len(ada.shown(Run)) == 2


def test_a_restored_list_does_not_count_the_living(penguins: Cast, ada: Pages) -> None:
    alive, dead = new_run(penguins.project), new_run(penguins.project)
    delete_run(dead)
    assert ada.shown(Run, deleted="any") == [dead, alive]
    assert "1 run restored" in notes(ada.act(Run, "restore", [alive, dead], deleted="any"))


# --- Projects -------------------------------------------------------------------------------------


def test_a_project_is_made_once_in_a_team_and_stays_there(penguins: Cast, ada: Pages) -> None:
    fields = {"team": penguins.team.pk, "name": "glide", "description": "on ice"}
    assert ada.save(ada.add_url(Project), **fields).status_code == 302
    project = Project.objects.get(name="glide")
    assert (project.team, project.description) == (penguins.team, "on ice")
    assert "exists" in str(errors(ada.save(ada.add_url(Project), **fields)))
    assert "name" in errors(ada.save(ada.change_url(project), name="waddle"))
    ada.save(ada.change_url(project), name="slide", team=penguins.otters.pk)
    project.refresh_from_db()
    assert (project.name, project.team) == ("slide", penguins.team)


@pytest.mark.parametrize("name", ["a/b", "..", "a\x00b", ""])
def test_a_project_with_an_impossible_name_is_a_form_error(penguins: Cast, ada: Pages, name: str) -> None:
    assert "name" in errors(ada.save(ada.add_url(Project), team=penguins.team.pk, name=name))


# --- Teams and members ----------------------------------------------------------------------------


def test_who_makes_a_team_is_its_first_admin(penguins: Cast, ada: Pages) -> None:
    saved = ada.save(ada.add_url(Team), organization=penguins.organization.pk, name="seals")
    assert saved.status_code == 302
    assert Member.objects.get(team__name="seals").user == penguins.ada
    assert Member.objects.get(team__name="seals").role == Role.ADMIN
    assert "name" in errors(ada.save(ada.add_url(Team), organization=penguins.organization.pk, name="admin"))


def test_an_admin_adds_changes_and_removes_members_by_username(penguins: Cast, ada: Pages) -> None:
    url = ada.change_url(penguins.team)
    zoe = person("zoe")
    assert ada.save_row(url, "members", username="zoe", role="viewer").status_code == 302
    assert Member.objects.get(team=penguins.team, user=zoe).role == Role.VIEWER
    fields = ada.form(url).fields
    assert fields["members-3-role"] == "viewer"
    ada.save(url, **{"members-3-role": "admin"})
    assert Member.objects.get(team=penguins.team, user=zoe).role == Role.ADMIN
    ada.save(url, **{"members-3-DELETE": "on"})
    assert not Member.objects.filter(team=penguins.team, user=zoe).exists()


def test_a_username_that_nobody_has_is_a_form_error(penguins: Cast, ada: Pages) -> None:
    refused = errors(ada.save_row(ada.change_url(penguins.team), "members", username="nobody", role="member"))
    assert "nobody" in refused["members-3-username"][0]
    refused = errors(ada.save_row(ada.change_url(penguins.team), "members", username="a\x00", role="owner"))
    assert set(refused) == {"members-3-username", "members-3-role"}


def test_an_organization_is_named_by_superusers_alone(penguins: Cast, ada: Pages, root: Pages) -> None:
    assert ada.client.get(ada.change_url(penguins.organization)).status_code == 200
    assert ada.client.post(ada.change_url(penguins.organization), {"name": "x"}).status_code == 403
    assert root.save(root.change_url(penguins.organization), name="zoo").status_code == 302
    assert "name" in errors(root.save(root.add_url(Organization), name="zoo"))


# --- Users ----------------------------------------------------------------------------------------


def test_staff_see_their_teams_people_and_change_none(penguins: Cast, ada: Pages) -> None:
    assert {user.username for user in ada.shown(User)} == {"ada", "max", "vera"}
    for url in (ada.change_url(penguins.max), ada.add_url(User)):
        assert ada.client.post(url, {"username": "x", "email": "x@example.com"}).status_code == 403
    password = f"{ada.change_url(penguins.max).removesuffix('change/')}password/"
    assert ada.client.post(password, {"password1": "x", "password2": "x"}).status_code == 403


def test_superusers_make_and_change_users(root: Pages) -> None:
    secret = "correct horse battery"
    made = root.save(root.add_url(User), username="zoe", password1=secret, password2=secret)
    assert made.status_code == 302
    zoe = User.objects.get(username="zoe")
    assert zoe.check_password(secret)
    root.save(root.change_url(zoe), email="zoe@example.com", is_staff="on")
    zoe.refresh_from_db()
    assert (zoe.email, zoe.is_staff, zoe.check_password(secret)) == ("zoe@example.com", True, True)
    assert "username" in errors(root.save(root.change_url(zoe), username="ada"))


# --- Keys -----------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once(penguins: Cast, ada: Pages) -> None:
    answer = ada.save(ada.add_url(ApiKey), name="laptop")
    shown = ada.client.get(answer["Location"])
    (found,) = re.findall(r"tl-[A-Za-z0-9]{40}", notes(shown))
    key = ApiKey.objects.get()
    assert (key.user, key.team, key.digest) == (penguins.ada, None, digest_of(found))
    assert found not in text(ada.open_list(ApiKey))
    assert found not in text(ada.client.get(ada.change_url(key)))


def test_with_a_team_it_is_a_service_key(penguins: Cast, ada: Pages) -> None:
    ada.save(ada.add_url(ApiKey), name="ci", team=penguins.team.pk)
    key = ApiKey.objects.get()
    assert (key.team, key.user.is_service) == (penguins.team, True)
    ada.delete(key)
    assert not ApiKey.objects.exists()
    assert not User.objects.get(pk=key.user_id).is_active


def test_a_service_key_takes_the_teams_admin(penguins: Cast) -> None:
    penguins.max.is_staff = True
    penguins.max.save()
    pages = Pages(penguins.max)
    assert (
        "does not allow"
        in errors(pages.save(pages.add_url(ApiKey), name="ci", team=penguins.team.pk))["__all__"][0]
    )
    others, _text = people.create_service_key(penguins.team, "of the team")
    assert pages.shown(ApiKey) == []
    assert pages.client.get(pages.change_url(others)).status_code == 302
    assert not ApiKey.objects.filter(name="ci").exists()
    assert not User.objects.filter(username__startswith="service-", api_keys=None).exists()


def test_superusers_make_keys_for_others(penguins: Cast, root: Pages) -> None:
    root.save(root.add_url(ApiKey), name="new laptop", user=penguins.max.pk)
    assert ApiKey.objects.get().user == penguins.max
