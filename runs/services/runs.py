"""Write verbs for runs. Each takes the run's lane first, so that what it reads is what is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils.translation import gettext as _

from runs import clock
from runs.errors import Conflict, named
from runs.models import Lane, Project, Run, RunStatus, RunStatusChange, SweepClock, User
from runs.names import make_run_id, make_run_name, normalized, validate_json, validate_path_name
from runs.services import lanes


def start_run(
    project: Project,
    user: User | None,
    *,
    run_id: str = "",
    name: str = "",
    status: RunStatus = RunStatus.RUNNING,
    config: dict[str, Any] | None = None,
) -> tuple[Run, bool]:
    """A new run, or the one with this `run_id`, resumed. Returns (run, created).

    Creation as running is a change of status (R15). Raises `Conflict` when the run was deleted.
    """
    run_id = _checked_run_id(run_id)
    if run_id and (existing := Run.objects.filter(project=project, run_id=run_id).first()):
        return _resume(existing, user, name=name, status=status, config=config), False
    run = Run(
        project=project,
        user=user,
        run_id=run_id or make_run_id(),
        name=normalized(name) or make_run_name(Run.objects.filter(project=project).count() + 1),
        status=status,
        config=config or {},
    )
    _check(run)
    try:
        with transaction.atomic():
            run.save()
            Lane.objects.create(run=run)
            _record_status(lanes.lock(run), run, actor=user, old="")
    except IntegrityError:
        if not Run.objects.filter(project=project, run_id=run.run_id).exists():
            raise
        # The id was taken meanwhile: resume that run, or try another made-up id.
        return start_run(project, user, run_id=run_id, name=name, status=status, config=config)
    return run, True


def _checked_run_id(run_id: str) -> str:
    """In NFC, and fit to be looked up."""
    with named("run_id"):
        if run_id:
            validate_path_name(run_id)
    return normalized(run_id)


def _check(run: Run) -> None:
    run.full_clean(validate_unique=False, validate_constraints=False)
    with named("config"):
        validate_json(run.config)


def _resume(
    run: Run, user: User | None, *, name: str, status: RunStatus, config: dict[str, Any] | None
) -> Run:
    if run.deleted_at:
        raise Conflict({"run_id": _("This run was deleted; restore it to go on with it.")})
    if name or config:
        update_run(run, name=name or None, config=config)
    return set_status(run, status, actor=user)


@transaction.atomic
def set_status(run: Run, status: RunStatus, *, actor: User | None) -> Run:
    """Change the run's status; setting the status it has is no change and leaves no row."""
    lane = lanes.lock(run)
    current = lane.run
    if current.status != status:
        old, current.status = current.status, status
        _record_status(lane, current, actor=actor, old=old)
    for field in ("status", "started_at", "finished_at"):
        setattr(run, field, getattr(current, field))
    return run


def _record_status(lane: Lane, run: Run, *, actor: User | None, old: str) -> None:
    place = lanes.take(lane)
    status = RunStatus(run.status)
    if status == RunStatus.RUNNING:
        run.started_at = run.started_at or place.received_at
    run.finished_at = place.received_at if status.is_over else None
    run.save(update_fields=["status", "started_at", "finished_at"])
    RunStatusChange.objects.create(
        run=run,
        seq=place.seq,
        old_status=old,
        status=status,
        received_at=place.received_at,
        actor=actor,
        run_name=run.name,
        run_user=run.user.username if run.user else "",
    )


@transaction.atomic
def update_run(run: Run, *, name: str | None = None, config: dict[str, Any] | None = None) -> Run:
    """Rename the run (no event) or merge keys into its config."""
    current = lanes.lock(run).run
    if name is not None:
        current.name = normalized(name)
    if config:
        current.config = {**current.config, **config}
    _check(current)
    current.save(update_fields=["name", "config"])
    run.name, run.config = current.name, current.config
    return run


@transaction.atomic
def heartbeat(run: Run, *, actor: User | None) -> None:
    """Keep a run alive; one that had crashed is running again, and that is a change."""
    Run.objects.filter(pk=run.pk).update(heartbeat_at=clock.now())
    if run.status == RunStatus.CRASHED:
        set_status(run, RunStatus.RUNNING, actor=actor)


def delete_run(run: Run) -> None:
    """Hide the run; `restore_run` brings it back. Executions stay."""
    Run.objects.filter(pk=run.pk, deleted_at__isnull=True).update(deleted_at=clock.now())


def restore_run(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(deleted_at=None)


def crash_silent_runs() -> list[Run]:
    """Mark as crashed every running run that sent heartbeats and then fell silent; return them.

    Silence is counted from the later of its last contact (heartbeat or metrics) and the start of the
    sweep: time in which nobody swept, a server's own downtime, crashes nobody.
    """
    now = clock.now()
    swept_since = _note_sweep(now)
    deadline = now.timestamp() - settings.TRIPLINE_CRASH_AFTER
    if swept_since.timestamp() > deadline:
        return []
    limit = datetime.fromtimestamp(deadline, tz=now.tzinfo)
    silent = Run.objects.filter(
        status=RunStatus.RUNNING,
        heartbeat_at__lte=limit,
        lane__received_at__lte=limit,
        deleted_at__isnull=True,
    ).select_related("user")
    return [run for run in silent if _crash(run, limit)]


@transaction.atomic
def _crash(run: Run, limit: datetime) -> bool:
    lane = lanes.lock(run)
    current = lane.run
    heard = current.heartbeat_at is None or max(current.heartbeat_at, lane.received_at or limit) > limit
    if heard or current.status != RunStatus.RUNNING:
        return False
    set_status(run, RunStatus.CRASHED, actor=None)
    return True


def _note_sweep(now: datetime) -> datetime:
    """Write down that somebody sweeps; return since when it has been done without a pause.

    A pause is longer than three intervals, and than a minute or half the time after which a run crashes.
    """
    pause = max(3 * settings.TRIPLINE_SWEEP_EVERY, min(60.0, settings.TRIPLINE_CRASH_AFTER / 2))
    clock_row, _created = SweepClock.objects.get_or_create(
        pk=1, defaults={"started_at": now, "swept_at": now}
    )
    if (now - clock_row.swept_at).total_seconds() > pause:
        clock_row.started_at = now
    SweepClock.objects.filter(pk=1).update(
        started_at=clock_row.started_at, swept_at=Greatest(F("swept_at"), now)
    )
    return clock_row.started_at
