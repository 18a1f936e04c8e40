"""One receiver for every source of events: a change row was inserted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Model
from django.db.models.signals import post_save

from automations import outbox
from registry.models import ArtifactChange
from runs.models import MetricBatch, RunStatusChange

OBSERVERS: dict[type[Model], Callable[[Any], None]] = {
    RunStatusChange: outbox.observe_status_change,
    MetricBatch: outbox.observe_metric_batch,
    ArtifactChange: outbox.observe_artifact_change,
}


def observe(sender: type[Model], instance: Model, created: bool, raw: bool, **kwargs: Any) -> None:
    # `raw` rows come out of a fixture: they happened elsewhere.
    if created and not raw:
        OBSERVERS[sender](instance)


def connect() -> None:
    for source in OBSERVERS:
        post_save.connect(observe, sender=source, dispatch_uid="automations.observe")
