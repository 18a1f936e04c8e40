"""Taking numbers in a run's lane: commit order is number order, because the lane row is locked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from runs import clock, statements
from runs.models import Lane, Organization, Project, Run, Team, User

# How long a lane may wait before the sweep rings for it: its own doorbell should come sooner.
RING_AFTER = timedelta(seconds=5)
# While it waits, those who add to it ring no more often than this.
RING_EVERY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """What was accepted: its number in the run's lane and the moment by the database's clock."""

    lane: Lane
    seq: int
    received_at: datetime


def lock(run: Run) -> Lane:
    """Lock the run's lane until the transaction ends; `lane.run` is the run as it is now."""
    lane = _locked(run.pk)
    # A statement of its own: in PostgreSQL one that waits for a lock gives the rows that it joins as they
    # were before the wait.
    lane.run = Run.objects.select_related("user", "project__team__organization").get(pk=run.pk)
    return lane


def lock_to_log(run: Run) -> Lane:
    """The same for a batch of metrics: no more of the run is read than that needs."""
    if statements.locks_rows():
        lane = _locked(run.pk)
        (row,) = statements.rows(_GLANCE, [run.pk])
    else:  # the transaction has the whole database to itself
        (row,) = statements.rows(_LANE_AND_GLANCE, [run.pk])
        lane = _lane(run.pk, row[-4:])
        row = row[:-4]
    lane.run = _glanced(row)
    return lane


def waiting(run_id: int) -> Lane | None:
    """The run's lane if something in it is not decided yet, with as much of the run as deciding needs."""
    found = statements.rows(_WAITING, [run_id])
    if not found:
        return None
    lane = statements.partly(Lane, ("run_id", "cursor", "head"), (run_id, *found[0][-2:]))
    lane.run = _glanced(found[0][:-2])
    return lane


def others_wait(run_id: int) -> bool:
    """Whether something waits in a lane other than this run's."""
    return bool(statements.rows(_OTHERS_WAIT, [run_id]))


def _locked(run_id: int) -> Lane:
    (row,) = statements.rows(statements.locking(_LANE), [run_id])
    return _lane(run_id, row)


def _lane(run_id: int, row: Sequence[Any]) -> Lane:
    cursor, head, received_at, ring_at = row
    moments = (statements.moment(received_at), statements.moment(ring_at))
    fields = ("run_id", "cursor", "head", "received_at", "ring_at")
    return statements.partly(Lane, fields, (run_id, cursor, head, *moments))


def take(lane: Lane) -> Place:
    """The next number of a locked lane. Acceptance times never run backwards within a lane."""
    now = clock.now()
    received_at = max(now, lane.received_at or now)
    if not _was_rung_for(lane, received_at):
        lane.ring_at = received_at + RING_AFTER
    lane.head += 1
    lane.received_at = received_at
    moments = [statements.stored(received_at), statements.stored(lane.ring_at)]
    statements.run(_TAKE, [lane.head, *moments, lane.run_id])
    return Place(lane=lane, seq=lane.head, received_at=received_at)


def must_ring(lane: Lane) -> bool:
    """Whether for the number that was taken last: not if a ring for one before it is still to be answered.

    Who answers that looks again after it has moved the cursor, which waits for our lock, and finds this one.
    """
    return lane.received_at is not None and lane.ring_at == lane.received_at + RING_AFTER


def _was_rung_for(lane: Lane, now: datetime) -> bool:
    """Whether somebody rang for what waits already, and so lately that it need not be lost."""
    if lane.cursor == lane.head or lane.ring_at is None:
        return False
    return RING_AFTER - RING_EVERY < lane.ring_at - now <= RING_AFTER


def advance(run_id: int, cursor: int, *, to: int) -> bool:
    """Move the cursor of a lane from where it was seen; False if somebody else had moved it."""
    return statements.run(_ADVANCE, [to, run_id, cursor]) == 1


_LANE = "SELECT cursor, head, received_at, ring_at FROM runs_lane WHERE run_id = %s"
_TAKE = "UPDATE runs_lane SET head = %s, received_at = %s, ring_at = %s WHERE run_id = %s"
_OTHERS_WAIT = "SELECT 1 FROM runs_lane WHERE cursor < head AND run_id <> %s LIMIT 1"
_ADVANCE = "UPDATE runs_lane SET cursor = %s WHERE run_id = %s AND cursor = %s"

# What is read, in the order of the statement.
_RUN = ("id", "run_id", "name", "status", "project_id", "user_id")
_PROJECT = ("id", "name", "team_id", "rules_epoch")
_TEAM = ("id", "name", "organization_id", "rules_epoch")
_ORGANIZATION = ("id", "rules_epoch")
_USER = ("id", "username")
_OF_THE_RUN = (
    "r.id, r.run_id, r.name, r.status, r.project_id, r.user_id,"
    " p.id, p.name, p.team_id, p.rules_epoch, t.id, t.name, t.organization_id, t.rules_epoch,"
    " o.id, o.rules_epoch, u.id, u.username"
)
_AROUND_THE_RUN = (
    " JOIN runs_project p ON p.id = r.project_id JOIN runs_team t ON t.id = p.team_id"
    " JOIN runs_organization o ON o.id = t.organization_id LEFT JOIN runs_user u ON u.id = r.user_id"
)
_GLANCE = f"SELECT {_OF_THE_RUN} FROM runs_run r{_AROUND_THE_RUN} WHERE r.id = %s"  # noqa: S608
_LANE_AND_GLANCE = (
    f"SELECT {_OF_THE_RUN}, l.cursor, l.head, l.received_at, l.ring_at"  # noqa: S608
    f" FROM runs_lane l JOIN runs_run r ON r.id = l.run_id{_AROUND_THE_RUN} WHERE l.run_id = %s"
)
_WAITING = (
    f"SELECT {_OF_THE_RUN}, l.cursor, l.head FROM runs_lane l JOIN runs_run r ON r.id = l.run_id"  # noqa: S608
    f"{_AROUND_THE_RUN} WHERE l.run_id = %s AND l.cursor < l.head"
)


def _glanced(row: Sequence[Any]) -> Run:
    """The run in a row of `_OF_THE_RUN`, with its project, team, organization and user."""
    user = statements.partly(User, _USER, row[16:18]) if row[16] is not None else None
    organization = statements.partly(Organization, _ORGANIZATION, row[14:16])
    team = statements.partly(Team, _TEAM, row[10:14], organization=organization)
    project = statements.partly(Project, _PROJECT, row[6:10], team=team)
    return statements.partly(Run, _RUN, row[0:6], project=project, user=user)
