from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import pytest

from automations.actions import http
from automations.models import Backtest, Delivery, Execution
from registry.models import Alias, Collection, Membership
from registry.services.collections import remove_alias, set_alias, set_registry_member, tag_collection
from registry.services.versions import create_version, link_version
from runs import clock
from runs.models import Role, Run, User
from runs.services.runs import delete_run
from tests import cast
from tests.api.house import Api, House, furnish, superuser
from tests.cast import Cast


@pytest.fixture(autouse=True)
def _nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test makes Tripline send stays in this machine; no name server is asked."""

    look_up = socket.getaddrinfo
    connect = http._connection

    def look_up_here(host: str, *rest: Any, **options: Any) -> list[Any]:
        if host not in {"localhost", "127.0.0.1", "::1"}:
            raise socket.gaierror(socket.EAI_NONAME, "no names in tests")
        return look_up(host, *rest, **options)

    def connect_here(address: Any, port: int, *, timeout: float) -> socket.socket:
        assert address.is_loopback, address
        return connect(address, port, timeout=timeout)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    monkeypatch.setattr(http, "_connection", connect_here)


@pytest.fixture
def ada(penguins: Cast) -> Api:
    """The admin of the penguins."""
    return Api(penguins.ada)


@pytest.fixture
def max_(penguins: Cast) -> Api:
    """A member of the penguins."""
    return Api(penguins.max)


@pytest.fixture
def vera(penguins: Cast) -> Api:
    """Who may look at the penguins."""
    return Api(penguins.vera)


@pytest.fixture
def otto(penguins: Cast) -> Api:
    """The admin of the otters."""
    return Api(penguins.otto)


@pytest.fixture
def root(db: None) -> User:
    return superuser()


@pytest.fixture
def everything(root: User) -> Api:
    """A superuser: sees everything."""
    return Api(root)


@pytest.fixture
def ours(penguins: Cast) -> House:
    """One of everything of the penguins."""
    return furnish(penguins.team, penguins.ada, "penguin")


@pytest.fixture
def theirs(penguins: Cast) -> House:
    """One of everything of the otters; whatever is theirs has “otter” in its name."""
    return furnish(penguins.otters, penguins.otto, "otter")


@dataclass(frozen=True)
class Crowd:
    """Everybody of the table: the cast, the people of the penguins' registry (in no team), and staff."""

    outsider: User
    viewer: User
    member: User
    admin: User
    registry_viewer: User
    registry_member: User
    registry_admin: User
    staff: User
    superuser: User


@pytest.fixture
def crowd(penguins: Cast, ours: House, root: User) -> Crowd:
    rita, rob, rosa, stan = (cast.person(name) for name in ("rita", "rob", "rosa", "stan"))
    for user, role in ((rita, Role.VIEWER), (rob, Role.MEMBER), (rosa, Role.ADMIN)):
        set_registry_member(ours.registry, user, role=role)
    ours.registry.members.filter(user=penguins.ada).delete()
    stan.is_staff = True
    stan.save()
    return Crowd(penguins.otto, penguins.vera, penguins.max, penguins.ada, rita, rob, rosa, stan, root)


@pytest.fixture
def ids(penguins: Cast, ours: House, crowd: Crowd) -> dict[str, Any]:
    """What the names in the table stand for."""
    nina = cast.person("nina")
    ours.registry.protected_aliases = ["champion"]
    ours.registry.save()
    link_version(ours.shelf, ours.version, aliases=["champion", "staging"], actor=penguins.ada)
    newer, _new = create_version(ours.collection, actor=penguins.ada, digest="newer")
    link_version(ours.shelf, newer, actor=penguins.ada)
    cast.collection(ours.registry, "second-shelf")
    tag_collection(ours.collection, "old", actor=penguins.ada)
    Api(penguins.ada).put(f"versions/{ours.draft.pk}/files/model.bin")
    found = {name: getattr(ours, name).pk for name in House.__dataclass_fields__}
    return (
        found
        | rules_elsewhere(penguins, ours)
        | {
            "organization": penguins.organization.pk,
            "backtest": tried(ours, penguins.max).pk,
            "person": nina.pk,
            "regular": ours.registry.members.get(user=crowd.registry_member).pk,
            "member": penguins.team.members.get(user=penguins.max).pk,
            "spare": cast.secret(penguins.team, "spare", "value").pk,
            "unused": cast.webhook(penguins.team, "https://hooks.example.com/", name="unused").pk,
            "second_shelf": Collection.objects.get(name="second-shelf").pk,
            "open": cast.registry("open", owner=penguins.otto).pk,
            "linked": Membership.objects.get(collection=ours.shelf, version=ours.version).pk,
            **{alias.name: alias.pk for alias in Alias.objects.filter(collection=ours.shelf)},
            "old_tag": ours.collection.tags.get().pk,
            "version_tag": ours.version.tags.get().pk,
            "run_id": ours.run.run_id,
            "deleted_run": (gone := deleted_run(ours)).pk,
            "deleted_run_id": gone.run_id,
        }
    )


def tried(ours: House, maker: User) -> Backtest:
    return Backtest.objects.create(
        created_by=maker,
        draft={"scope": {"type": "project", "id": ours.project.pk}, "event_type": "run_status"},
        result={"summary": {"not_evaluated": []}, "warnings": [], "runs": [], "truncated": False},
        created_at=clock.now(),
    )


def deleted_run(ours: House) -> Run:
    run = cast.new_run(ours.project, name="gone")
    delete_run(run)
    return run


def rules_elsewhere(penguins: Cast, ours: House) -> dict[str, int]:
    """Rules of every other scope; that of the registry has fired, and its message was refused."""
    alias, sends = {"alias": "^champion$"}, cast.sends(ours.integration)
    made = {
        "team_rule": cast.rule(ours.team, "run_status", {"statuses": ["failed"]}),
        "organization_rule": cast.rule(penguins.organization, "run_status", {"statuses": ["failed"]}),
        "collection_rule": cast.rule(ours.collection, "alias_added", alias),
        "shelf_rule": cast.rule(ours.shelf, "alias_added", alias),
        "registry_rule": cast.rule(ours.registry, "alias_added", alias, actions=sends),
    }
    remove_alias(ours.shelf, "champion", actor=penguins.ada)
    set_alias(ours.shelf, "champion", ours.version, actor=penguins.ada)
    cast.decide()
    fired = Execution.objects.get(automation=made["registry_rule"])
    fired.deliveries.update(state="failed", next_at=None)
    Execution.objects.filter(pk=fired.pk).update(state="failed")
    sent = Delivery.objects.get(execution=fired)
    return {name: rule.pk for name, rule in made.items()} | {
        "registry_execution": fired.pk,
        "registry_delivery": sent.pk,
    }
