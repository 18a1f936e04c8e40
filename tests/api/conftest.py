from __future__ import annotations

import socket
from typing import Any

import pytest

from automations.actions import http
from automations.models import Backtest
from registry.services.collections import set_registry_member, tag_collection
from registry.services.uses import use_version
from registry.services.versions import link_version
from runs import clock
from runs.models import Role, User
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


@pytest.fixture
def ids(penguins: Cast, ours: House, root: User) -> dict[str, int]:
    """What the names in the table stand for."""
    nina = cast.person("nina")
    set_registry_member(ours.registry, penguins.vera, role=Role.VIEWER)
    regular = set_registry_member(ours.registry, penguins.max, role=Role.MEMBER)
    ours.registry.protected_aliases = ["champion"]
    ours.registry.save()
    link_version(ours.shelf, ours.version, aliases=["champion"], actor=penguins.ada)
    tag_collection(ours.collection, "old", actor=penguins.ada)
    Api(penguins.ada).put(f"versions/{ours.draft.pk}/files/model.bin")
    tried = Backtest.objects.create(
        created_by=penguins.max,
        draft={"scope": {"type": "project", "id": ours.project.pk}, "event_type": "run_status"},
        result={"summary": {"not_evaluated": []}, "warnings": [], "runs": [], "truncated": False},
        created_at=clock.now(),
    )
    user_run = cast.new_run(ours.project, user=penguins.ada, name="reader")
    use_version(user_run, ours.version)
    found = {name: getattr(ours, name).pk for name in House.__dataclass_fields__}
    return found | {
        "organization": penguins.organization.pk,
        "backtest": tried.pk,
        "person": nina.pk,
        "regular": regular.pk,
        "member": penguins.team.members.get(user=penguins.max).pk,
        "spare": cast.secret(penguins.team, "spare", "value").pk,
        "user_run": user_run.pk,
        "unused": cast.webhook(penguins.team, "https://hooks.example.com/", name="unused").pk,
    }


@pytest.fixture
def somebody(penguins: Cast, root: User, request: pytest.FixtureRequest) -> Api:
    people = {"viewer": penguins.vera, "member": penguins.max, "admin": penguins.ada}
    people |= {"stranger": penguins.otto, "superuser": root}
    return Api(people.get(request.param))
