"""Write verbs for backtests that run as a job: the row is the queue, and who works on it holds a lease."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from automations import doorbell
from automations.models import Backtest, BacktestState
from automations.models.backtests import UNFINISHED
from runs import clock
from runs.models import User

# Who was not heard of for so long is dead; a worker says something every second.
LEASE = timedelta(seconds=30)
# So many are worked on at once, however many people wait.
AT_ONCE = 2
# How long one waits before the sweep rings for it again.
_RING_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Progress:
    done: int
    total: int
    result: dict[str, Any]


@transaction.atomic
def start(draft: dict[str, Any], *, person: User, progress: Progress) -> Backtest:
    """A new job for what `progress` is the beginning of. A person has one at a time: an older one ends."""
    cancel_those_of(person)
    job = Backtest.objects.create(
        created_by=person,
        draft=draft,
        done=progress.done,
        total=progress.total,
        result=progress.result,
        created_at=clock.now(),
    )
    transaction.on_commit(partial(doorbell.ring_backtest, job.pk), robust=True)
    return job


@transaction.atomic
def cancel_those_of(person: User) -> None:
    """End what somebody tried before."""
    if _cancel_all(Backtest.objects.filter(created_by=person)):
        _ring_for_next()


@transaction.atomic
def cancel(job: Backtest) -> Backtest:
    """End it; one that has ended stays as it is. What was found so far is kept."""
    if _cancel_all(Backtest.objects.filter(pk=job.pk)):
        _ring_for_next()
    job.refresh_from_db()
    return job


def _cancel_all(jobs: Any) -> int:
    found: int = jobs.filter(state__in=UNFINISHED).update(
        state=BacktestState.CANCELLED, lease=None, finished_at=clock.now()
    )
    return found


def claim(pk: int) -> uuid.UUID | None:
    """Take a job that waits; None: somebody else did, it was cancelled, or as many as may be are running."""
    now = clock.now()
    running = Backtest.objects.filter(state=BacktestState.RUNNING, beat_at__gt=now - LEASE)
    if running.count() >= AT_ONCE:
        return None
    lease = uuid.uuid4()
    waiting = Backtest.objects.filter(pk=pk, state=BacktestState.PENDING)
    taken = waiting.update(state=BacktestState.RUNNING, lease=lease, beat_at=now)
    return lease if taken else None


def note(pk: int, lease: uuid.UUID, progress: Progress) -> bool:
    """Say that it is worked on, and what is known so far; False when it is ours no longer."""
    return _write(pk, lease, progress, beat_at=clock.now())


@transaction.atomic
def finish(pk: int, lease: uuid.UUID, progress: Progress) -> bool:
    written = _write(pk, lease, progress, state=BacktestState.FINISHED, finished_at=clock.now())
    _ring_for_next()
    return written


@transaction.atomic
def fail(pk: int, lease: uuid.UUID, problem: str) -> None:
    _fail(Backtest.objects.filter(pk=pk, lease=lease), problem)
    _ring_for_next()


def died() -> str:
    return _("Whoever worked on it died; try it again.")


def _write(pk: int, lease: uuid.UUID, progress: Progress, **fields: Any) -> bool:
    mine = Backtest.objects.filter(pk=pk, lease=lease, state=BacktestState.RUNNING)
    known = {"done": progress.done, "total": progress.total, "result": progress.result}
    return mine.update(**known, **fields) == 1


def _fail(jobs: Any, problem: str) -> None:
    jobs.filter(state=BacktestState.RUNNING).update(
        state=BacktestState.FAILED, problem=problem, lease=None, finished_at=clock.now()
    )


def sweep(now: datetime) -> None:
    """Jobs whose worker died have failed, and say so; those that wait are rung for."""
    _fail(Backtest.objects.filter(beat_at__lte=now - LEASE), died())
    if Backtest.objects.filter(state=BacktestState.PENDING, created_at__lte=now - _RING_AFTER).exists():
        _ring_for_next()


def _ring_for_next() -> None:
    waiting = Backtest.objects.filter(state=BacktestState.PENDING).order_by("pk")
    for pk in list(waiting.values_list("pk", flat=True)[:AT_ONCE]):
        transaction.on_commit(partial(doorbell.ring_backtest, pk), robust=True)
