"""From a change row to a durable event, in the transaction of the change.

An event's `data` holds what templates and decisions read, as of then. Metric batches are not events:
their lane is what waits, and they become an event when a rule fires on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from automations import candidates, doorbell
from automations.models import Event, Feed
from registry.models import ArtifactChange, ChangeKind, Collection, Membership
from runs import cause, clock, statements
from runs.models import MetricBatch, Organization, Project, Run, RunStatusChange
from runs.services import lanes

# How long an event may wait before the sweep rings for it.
RING_AFTER = timedelta(seconds=5)


def observe_status_change(change: RunStatusChange) -> None:
    """A run's status changed: an event, and its lane waits."""
    run = change.run
    event = run_event(
        run, type="run_status", data={**run_data(run, change), "previous_status": change.old_status}
    )
    event.origin = _origin(change)
    event.received_at = change.received_at
    publish([event])
    transaction.on_commit(lambda: doorbell.ring_lane(run.pk), robust=True)


def observe_metric_batch(batch: MetricBatch) -> None:
    """Values were logged: their lane waits, or moves on at once when no rule cares for them."""
    cared_for = candidates.for_batch(batch)
    if not cared_for and lanes.advance(batch.run_id, batch.seq - 1, to=batch.seq):
        return
    if lanes.must_ring(batch.run.lane):
        transaction.on_commit(lambda: doorbell.ring_lane(batch.run_id), robust=True)


def observe_artifact_change(change: ArtifactChange) -> None:
    """Something happened to an artifact: an event that waits by itself."""
    project = change.collection.project
    registry = change.collection.registry
    organization = registry.organization if registry else project.team.organization  # type: ignore[union-attr]
    event = Event(
        organization=organization,
        type=change.kind,
        origin=f"artifact:{change.pk}",
        team=project.team if project else None,
        project=project,
        registry=registry,
        collection=change.collection,
        version=change.version,
        data=artifact_data(change, organization),
        received_at=change.received_at,
        ring_at=change.received_at + RING_AFTER,
    )
    publish([event])
    transaction.on_commit(lambda: doorbell.ring_event(event.pk), robust=True)


def publish(events: Sequence[Event]) -> list[Event]:
    """Give events of one organization their numbers in its feed and save them.

    The feed's row is locked until the transaction ends, and is the last lock taken: numbers are
    committed in order, so that a reader who has seen number n has seen all before it.
    """
    head = _raise_feed(events[0].organization, len(events))
    for number, event in enumerate(events, start=head - len(events) + 1):
        event.sequence = number
        event.cause = event.cause or cause.current()
    return Event.objects.bulk_create(events)


def _raise_feed(organization: Organization, count: int) -> int:
    """The last of so many new numbers."""
    while not statements.run(_RAISE, [count, organization.pk]):
        Feed.objects.get_or_create(organization=organization)
    ((head,),) = statements.rows(_HEAD, [organization.pk])
    return int(head)


_RAISE = "UPDATE automations_feed SET head = head + %s WHERE organization_id = %s"
_HEAD = "SELECT head FROM automations_feed WHERE organization_id = %s"


def _origin(change: RunStatusChange) -> str:
    return f"run_status:{change.pk}"


def event_of(change: RunStatusChange) -> Event:
    """The event that a status change is."""
    return Event.objects.get(origin=_origin(change))


def mark_decided(changes: Sequence[RunStatusChange]) -> None:
    origins = [_origin(change) for change in changes]
    Event.objects.filter(origin__in=origins).update(decided_at=clock.now())


def run_event(run: Run, *, type: str, data: dict[str, Any]) -> Event:
    """An unsaved event about a run, in the scopes that the run belongs to."""
    team = run.project.team
    return Event(
        organization=team.organization,
        type=type,
        team=team,
        project=run.project,
        run=run,
        data={**data, "scopes": run_scopes(run.project)},
    )


def run_scopes(project: Project) -> list[str]:
    team = project.team
    return [f"project:{project.pk}", f"team:{team.pk}", f"organization:{team.organization_id}"]


def run_data(run: Run, change: RunStatusChange | MetricBatch) -> dict[str, Any]:
    """The template variables of a run, as of the acceptance of the change."""
    status = change.status if isinstance(change, RunStatusChange) else change.run_status
    return {
        "team_name": run.project.team.name,
        "entity_name": run.project.team.name,
        "project_name": run.project.name,
        "run_id": run.run_id,
        "run_name": change.run_name,
        "run_url": run.url,
        "run_status": status,
        "event_author": change.run_user,
    }


def artifact_data(change: ArtifactChange, organization: Organization) -> dict[str, Any]:
    collection = change.collection
    project, registry, version = collection.project, collection.registry, change.version
    is_alias = change.kind in {ChangeKind.ALIAS_ADDED, ChangeKind.ALIAS_REMOVED}
    numbers = _numbers(change)
    index = numbers.get(version.pk) if version else None
    previous = numbers.get(change.previous_id) if change.previous_id else None
    return {
        "team_name": project.team.name if project else "",
        "entity_name": project.team.name if project else organization.name,
        "project_name": project.name if project else "",
        "registry_name": registry.name if registry else "",
        "event_author": change.actor.username if change.actor else "",
        "artifact_collection_name": collection.name,
        "artifact_version": "" if index is None else f"{collection.name}:v{index}",
        "artifact_version_string": "" if index is None else f"v{index}",
        "artifact_version_index": index,
        "artifact_digest": version.digest if version else "",
        "artifact_metadata": version.metadata if version else {},
        "artifact_url": f"{settings.TRIPLINE_BASE_URL}/artifacts/{collection.pk}"
        + (f"/v{index}" if index is not None else ""),
        "aliases": change.aliases,
        "alias": change.label if is_alias else "",
        "tag": "" if is_alias else change.label,
        "previous_version": "" if previous is None else f"v{previous}",
        "collection_sequence": change.sequence,
        "scopes": artifact_scopes(change, organization),
    }


def _numbers(change: ArtifactChange) -> dict[int, int]:
    """The numbers that the versions of this change have in its collection."""
    wanted = [pk for pk in (change.version_id, change.previous_id) if pk]
    rows = Membership.objects.filter(collection=change.collection, version__in=wanted)
    return dict(rows.values_list("version_id", "index"))


def artifact_scopes(change: ArtifactChange, organization: Organization) -> list[str]:
    """Every scope the change belongs to, decided now (R2, R3, R6).

    A version is tagged in every collection that holds it; all else happens in one collection.
    """
    held_in = [change.collection]
    if change.kind in {ChangeKind.TAG_ADDED, ChangeKind.TAG_REMOVED}:
        rows = Collection.objects.filter(memberships__version=change.version, deleted_at__isnull=True)
        held_in += rows.select_related("project")
    scopes = {f"organization:{organization.pk}": None}
    for collection in held_in:
        scopes[f"collection:{collection.pk}"] = None
        if collection.registry_id:
            scopes[f"registry:{collection.registry_id}"] = None
        if collection.project:
            scopes[f"project:{collection.project_id}"] = None
            scopes[f"team:{collection.project.team_id}"] = None
    return list(scopes)
