from __future__ import annotations

import socket
from typing import Any

import pytest

from runs.models import User
from tests.api.house import Api, House, furnish, superuser
from tests.cast import Cast


@pytest.fixture(autouse=True)
def _nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test makes Tripline send stays in this machine; no name server is asked."""

    def look_up(host: str, port: int, *, type: int) -> list[Any]:
        if host not in {"localhost", "127.0.0.1"}:
            raise socket.gaierror(socket.EAI_NONAME, "no names in tests")
        return [(socket.AF_INET, type, 0, "", ("127.0.0.1", port))]

    def connect(address: Any, port: int, *, timeout: float) -> socket.socket:
        assert address.is_loopback, address
        return socket.create_connection((str(address), port), timeout)

    monkeypatch.setattr("automations.actions.targets.socket.getaddrinfo", look_up)
    monkeypatch.setattr("automations.actions.http._connection", connect)


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
