"""A list of ten rows asks the database as often as a list of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from automations.models import Inbox
from automations.services import targets
from registry.services.collections import set_registry_member, tag_collection
from registry.services.uses import use_version
from registry.services.versions import create_version, link_version
from runs.models import Organization, Role
from runs.services import people
from runs.services.projects import create_project
from tests import cast
from tests.api.house import Api, House
from tests.cast import Cast

pytestmark = pytest.mark.django_db

Grow = Callable[[Cast, House, int], object]


def _registry(penguins: Cast, ours: House, number: int) -> None:
    registry = cast.registry(f"registry {number}", owner=penguins.ada)
    set_registry_member(registry, penguins.max, role=Role.MEMBER)


def _shelf(penguins: Cast, ours: House, number: int) -> None:
    shelf = cast.collection(ours.registry, f"shelf {number}")
    tag_collection(shelf, f"tag {number}", actor=None)
    link_version(shelf, ours.version, aliases=["a", "b"], actor=None)


def _version(penguins: Cast, ours: House, number: int) -> None:
    create_version(
        ours.collection, actor=penguins.ada, run=ours.run, aliases=[f"a{number}"], tags=["x", f"t{number}"]
    )


def _linked(penguins: Cast, ours: House, number: int) -> None:
    version, _created = create_version(ours.collection, actor=penguins.ada, aliases=[f"a{number}"])
    link_version(ours.shelf, version, aliases=[f"b{number}"], actor=None)


def _use(penguins: Cast, ours: House, number: int) -> None:
    use_version(cast.new_run(ours.project, user=penguins.ada), ours.version)


def _run(penguins: Cast, ours: House, number: int) -> None:
    run = cast.new_run(create_project(penguins.team, f"project {number}"), user=penguins.ada)
    cast.log_points(run, [{"values": {"loss": 1, "acc": 2}}])


def _fired(penguins: Cast, ours: House, number: int) -> None:
    """One more of a rule, a secret, an integration, an event, an execution and deliveries with attempts."""
    token = cast.secret(penguins.team, f"token{number}", "t")
    hook = cast.webhook(
        penguins.team,
        "https://hooks.example.com/",
        name=f"hook {number}",
        access_token=token,
        signing_secret=token,
    )
    project = create_project(penguins.team, f"fired {number}")
    cast.rule(
        project, "run_status", {"statuses": ["running"]}, name=f"rule {number}", actions=cast.sends(hook) * 2
    )
    cast.new_run(project, user=penguins.ada)
    cast.decide()
    cast.deliver()


def _received(penguins: Cast, ours: House, number: int) -> None:
    targets.receive(ours.inbox, headers={}, body=b"{}")


GROWING: dict[str, tuple[str, Grow]] = {
    "users": ("users/", lambda _cast, _ours, n: cast.person(f"person{n}")),
    "keys": ("keys/", lambda c, _ours, n: people.create_service_key(c.team, f"ci {n}")),
    "organizations": ("organizations/", lambda _cast, _ours, n: Organization.objects.create(name=f"o{n}")),
    "teams": ("teams/", lambda c, _ours, n: people.create_team(f"team {n}", owner=c.ada)),
    "me": ("me/", lambda c, _ours, n: people.create_team(f"team {n}", owner=c.ada)),
    "members": (
        "teams/{team}/members/",
        lambda c, _ours, n: people.set_member(c.team, cast.person(f"p{n}"), role=Role.VIEWER),
    ),
    "projects": ("projects/", lambda c, _ours, n: create_project(c.team, f"project {n}")),
    "runs": ("runs/", _run),
    "metrics": (
        "runs/{run}/metrics/",
        lambda _cast, ours, n: cast.log(ours.run, f"metric {n}", [1.0, 2.0]),
    ),
    "registries": ("registries/", _registry),
    "registry members": (
        "registries/{registry}/members/",
        lambda _cast, ours, n: set_registry_member(ours.registry, cast.person(f"p{n}"), role=Role.VIEWER),
    ),
    "collections": ("collections/", _shelf),
    "versions": ("versions/", _version),
    "uses": ("versions/{version}/uses/", _use),
    "versions of a shelf": ("versions/?collection={shelf}", _linked),
    "secrets": ("secrets/", _fired),
    "integrations": ("integrations/", _fired),
    "inboxes": ("inboxes/", lambda c, _ours, n: targets.save_inbox(Inbox(team=c.team, name=f"inbox {n}"))),
    "requests": ("inboxes/{inbox}/requests/", _received),
    "automations": ("automations/", _fired),
    "executions": ("executions/", _fired),
    "deliveries": ("deliveries/", _fired),
    "events": ("events/", _fired),
}


def asked(api: Api, path: str) -> int:
    api.get(path)
    with CaptureQueriesContext(connection) as captured:
        answer = api.get(path)
    assert answer.status == 200, answer
    return len(captured)


@pytest.mark.parametrize("name", list(GROWING))
def test_a_list_asks_as_often_for_ten_rows_as_for_one(penguins: Cast, ours: House, name: str) -> None:
    template, grow = GROWING[name]
    path = template.format(**{field: getattr(ours, field).pk for field in House.__dataclass_fields__})
    if name in {"users", "organizations"}:
        penguins.ada.is_staff = penguins.ada.is_superuser = True
        penguins.ada.save()
    ada = Api(penguins.ada)
    grow(penguins, ours, 0)
    few, before = asked(ada, path), len(ada.get(path).content)
    for number in range(1, 10):
        grow(penguins, ours, number)
    assert len(ada.get(path).content) > before
    assert asked(ada, path) == few
    assert few <= 12


def test_every_list_is_counted(ours: House, ada: Api) -> None:
    from tests.api.test_isolation import places

    counted = {path.partition("?")[0].rstrip("/").rpartition("/")[2] for path, _grow in GROWING.values()}
    assert {place.rpartition("/")[2] for place in places(ours)} <= counted
