"""Working on backtests: at once where that takes a moment, else as a job that says how far it is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection

from automations.backtests.drafts import Draft
from automations.backtests.engine import Replays
from automations.backtests.report import Report, in_words
from automations.models import Backtest, BacktestState
from automations.services import backtests
from automations.services.backtests import Progress
from runs import clock
from runs.models import User

# Seconds between two notes of a worker.
_NOTE_EVERY = 1.0


class _OverError(Exception):
    """Nobody waits for the rest any more."""


def try_out(draft: Draft, *, person: User) -> Backtest:
    """Finished and not saved, if the result is there within a moment (`TRIPLINE_BACKTEST_AT_ONCE`); else a
    job that has its beginning. Whatever the person tried before ends.

    Raises `ValidationError` for a rule that cannot be tried.
    """
    backtests.cancel_those_of(person)
    deadline = time.monotonic() + settings.TRIPLINE_BACKTEST_AT_ONCE

    def beat() -> None:
        if time.monotonic() >= deadline:
            raise _OverError

    report = Report(_replays(draft, beat))
    if _work(report):
        return _done(draft, report)
    return backtests.start(draft.as_json(), person=person, progress=_progress(report))


def _done(draft: Draft, report: Report) -> Backtest:
    """A job that nobody has to come back for."""
    known = _progress(report)
    return Backtest(
        draft=draft.as_json(),
        state=BacktestState.FINISHED,
        done=known.done,
        total=known.total,
        result=known.result,
        created_at=clock.now(),
    )


def told(job: Backtest) -> dict[str, Any]:
    """How far it is and what is known so far, in the active language."""
    return {
        "id": job.pk,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "problem": job.problem,
        **in_words(job.result, job.draft["event_type"]),
    }


def begin(pk: int) -> None:
    """Take a job that waits and work on it: in a process of its own, where this one serves the web too."""
    lease = backtests.claim(pk)
    if lease is None:
        return
    if settings.TRIPLINE_EMBEDDED:
        _spawn(pk, lease)
    else:
        work(pk, lease)


def work(pk: int, lease: uuid.UUID, *, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Do a job that was claimed. It ends early when it was cancelled, or when `goes_on` says so."""
    job = Backtest.objects.get(pk=pk)
    noted = time.monotonic()

    def beat() -> None:
        nonlocal noted
        if time.monotonic() - noted < _NOTE_EVERY:
            return
        if not goes_on() or not backtests.note(pk, lease, _progress(report)):
            raise _OverError
        noted = time.monotonic()

    try:
        report = Report(_replays(Draft.restored(job.draft), beat))
    except ValidationError as error:
        backtests.fail(pk, lease, " ".join(error.messages))
        return
    if _work(report):
        backtests.finish(pk, lease, _progress(report))


def _replays(draft: Draft, beat: Callable[[], None]) -> Replays:
    return Replays(draft.automation, since=draft.since, limit=draft.limit, beat=beat)


def _work(report: Report) -> bool:
    """False when it ended before all runs were looked at."""
    try:
        report.work()
    except _OverError:
        return False
    return True


def _progress(report: Report) -> Progress:
    return Progress(report.summary.runs, report.summary.total, report.as_json())


def _spawn(pk: int, lease: uuid.UUID) -> None:
    """It says itself how far it is. Should it die, its end is noticed here, or else by the sweep."""
    arguments = [sys.executable, "-m", "django", "backtest", str(pk), str(lease)]
    path = [str(settings.BASE_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "TRIPLINE_DATA_DIR": str(settings.TRIPLINE_DATA_DIR),
        "PYTHONPATH": os.pathsep.join(path),
    }
    process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_watch, args=[process, pk, lease], name="backtest", daemon=True).start()


def _watch(process: subprocess.Popen[bytes], pk: int, lease: uuid.UUID) -> None:
    try:
        if process.wait() != 0:
            backtests.fail(pk, lease, backtests.died())
    finally:
        connection.close()  # this thread's own
