"""Making the example once, before the server starts, and finding it again at every later start."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from automations.models import Inbox
from config.demo import cast as casting, hourglass, past, plans, removal
from config.embedded import STOP_WITHIN, StartError
from config.web import Web, load_application
from runs.models import ApiKey, Organization, Project, Run, RunStatus, Team
from runs.services import people
from runs.services.runs import set_status

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Say = Callable[[str], None]


@dataclass
class Example:
    """What is remembered of the example, in a file of the data directory."""

    organization: int
    # Where the training that streams now is logged, with which key.
    team: int = 0
    project: int = 0
    key: str = ""

    @property
    def is_whole(self) -> bool:
        return bool(self.project)

    def save(self) -> None:
        _file().write_text(json.dumps(asdict(self)), encoding="utf-8")


def _file() -> Path:
    return settings.TRIPLINE_DATA_DIR / "demo.json"


def found() -> Example | None:
    """The example of this data directory, None where there is none (any more)."""
    try:
        example = Example(**json.loads(_file().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    return example if Organization.objects.filter(pk=example.organization).exists() else None


def forget() -> None:
    _file().unlink(missing_ok=True)


def refuse_production() -> None:
    """Its past is written while nobody else works on the database, and by one clock. Raises `StartError`."""
    if not settings.TRIPLINE_EMBEDDED:
        raise StartError(
            "The example is for an installation that has nothing else: start --demo without DATABASE_URL "
            "and REDIS_URL."
        )


def prepare(listener: socket.socket, say: Say) -> Example:
    """The example, made where it is missing, and ready for its next training. Raises `StartError`."""
    example = found()
    if example is not None and not example.is_whole:
        say("The example was not made to its end; it is made anew.")
        removal.remove(example.organization)
        example = None
    if example is None:
        example = _make(listener, say)
    _ready(example)
    return example


def _make(listener: socket.socket, say: Say) -> Example:
    casting.refuse_taken_names()
    say("\nMaking the example: two teams, a registry, three weeks of runs and what fired on them …")
    began = time.monotonic()
    inboxes: set[str] = set()
    with _quietly(), _receiving(listener, inboxes), hourglass.past(timezone.now() - plans.PAST) as glass:
        cast = casting.assemble()
        example = Example(cast.organization.pk)
        example.save()
        inboxes.update(_paths(cast.organization))
        past.tell(glass, cast, say)
    _row, key = people.create_service_key(cast.live.team, "the training of the example")
    example.team, example.project, example.key = cast.live.team_id, cast.live.pk, key
    example.save()
    say(f"  made in {time.monotonic() - began:.0f} s")
    return example


def _ready(example: Example) -> None:
    """As at every start: messages lead to this address, the key opens, and no run of before goes on."""
    casting.lead_to_inboxes(Organization.objects.get(pk=example.organization))
    if not ApiKey.objects.filter(digest=people.digest_of(example.key)).exists():
        team = Team.objects.get(pk=example.team)
        _row, example.key = people.create_service_key(team, "the training of the example")
        example.save()
    if not Project.objects.filter(pk=example.project).exists():
        raise StartError(
            "The example's project is gone: python3 manage.py removedemo makes room for a new one."
        )
    for run in Run.objects.filter(project=example.project, status=RunStatus.RUNNING, user__is_service=True):
        set_status(run, RunStatus.KILLED, actor=None)


def _paths(organization: Organization) -> Iterator[str]:
    for inbox in Inbox.objects.filter(team__organization=organization):
        yield reverse("inbox-receive", args=[inbox.token])


# --- While it is made -----------------------------------------------------------------------------


@contextmanager
def _quietly() -> Iterator[None]:
    """No mail goes out, and the log does not tell of what is long over."""
    log = logging.getLogger("tripline")
    level = log.level
    nowhere = "django.core.mail.backends.dummy.EmailBackend"
    log.setLevel(logging.CRITICAL)
    try:
        with patch.object(settings, "EMAIL_BACKEND", nowhere):
            yield
    finally:
        log.setLevel(level)


@contextmanager
def _receiving(listener: socket.socket, paths: Container[str]) -> Iterator[None]:
    """The inboxes answer already, at the address that is served later; everybody else is asked to wait."""
    web = Web(listener.dup(), _only(paths, load_application()), on_end=lambda: None)
    web.start()
    try:
        yield
    finally:
        web.stop()
        web.join(time.monotonic() + STOP_WITHIN)


def _only(paths: Container[str], application: WSGIApplication) -> WSGIApplication:
    def gate(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in paths:
            return application(environ, start_response)
        kind = ("Content-Type", "text/plain; charset=utf-8")
        start_response("503 Service Unavailable", [kind, ("Retry-After", "5")])
        return [b"Tripline is making its example, and serves in a few seconds.\n"]

    return gate
