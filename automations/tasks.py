"""Celery tasks. Each takes an id, looks at the row, and does nothing when there is nothing to do."""

from __future__ import annotations

from celery import shared_task

from automations import delivery, evaluation, retention, sweep as sweeping
from automations.backtests import jobs
from automations.services import canary as canaries
from runs import metrics

# Seconds that a lane which is being filled is given for more, each time.
PATIENCE = 0.02


@shared_task(ignore_result=True)
def evaluate_lane(run_id: int) -> None:
    evaluation.evaluate_lane(run_id, patience=PATIENCE)


@shared_task(ignore_result=True)
def evaluate_event(event_id: int) -> None:
    evaluation.evaluate_event(event_id)


@shared_task(ignore_result=True)
def drain(integration_id: int | None) -> None:
    delivery.drain(integration_id)


@shared_task(ignore_result=True)
def backtest(backtest_id: int) -> None:
    jobs.begin(backtest_id)


@shared_task(ignore_result=True)
def prune(_nothing: None = None) -> None:
    retention.prune()


@shared_task(ignore_result=True)
def compact() -> None:
    metrics.compact()


@shared_task(ignore_result=True)
def sweep() -> None:
    sweeping.sweep()


@shared_task(ignore_result=True)
def canary(_nothing: None = None) -> None:
    canaries.send()
