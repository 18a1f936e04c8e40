"""Rules are cached, and the cache is exact: a rule that changed between two calls is seen at once."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoCaptureOnCommitCallbacks

from automations.access import Scope
from automations.models import Automation, Mode
from automations.services.rules import delete_automation, save_automation, set_mode
from runs.models import Lane, Run
from tests import cast
from tests.cast import Cast, fired, log, new_run, rule, threshold

pytestmark = pytest.mark.django_db

Rings = list[tuple[str, int | None]]


def waits(run: Run) -> bool:
    lane = Lane.objects.get(pk=run.pk)
    return lane.cursor < lane.head


@pytest.fixture
def run(penguins: Cast) -> Run:
    """A run whose start is decided; with rules on nothing but a metric that it never logs."""
    rule(penguins.project, "run_metric_threshold", threshold("never logged"), name="bystander")
    run = new_run(penguins.project)
    cast.decide()
    assert not waits(run)
    return run


def test_a_batch_that_no_rule_cares_for_moves_the_cursor_and_rings_nobody(
    run: Run,
    rings: Rings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    rings.clear()
    with django_capture_on_commit_callbacks(execute=True):
        log(run, "loss", [0.9])
    assert not waits(run)
    assert rings == []


def test_a_batch_that_a_rule_cares_for_waits_and_rings(
    run: Run,
    penguins: Cast,
    rings: Rings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    rule(penguins.project, "run_metric_threshold", threshold())
    rings.clear()
    with django_capture_on_commit_callbacks(execute=True):
        log(run, "loss", [0.1])
    assert waits(run)
    assert rings == [("evaluate_lane", run.pk)]
    cast.decide()
    assert not waits(run)


def test_a_quiet_batch_behind_one_that_waits_keeps_its_place(run: Run, penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    log(run, "loss", [0.9])
    log(run, "accuracy", [0.9])
    lane = Lane.objects.get(pk=run.pk)
    assert (lane.cursor, lane.head) == (1, 3)
    cast.decide()
    assert fired(automation) == 1
    assert not waits(run)


@pytest.mark.parametrize("where", ["project", "team", "organization"])
def test_a_rule_is_seen_from_the_next_batch_on_and_gone_with_the_next(
    run: Run, penguins: Cast, where: str
) -> None:
    scope: Scope = getattr(penguins, where)

    def is_cared_for() -> bool:
        log(run, "loss", [0.9])
        answer = waits(run)
        cast.decide()
        return answer

    assert not is_cared_for()
    automation = rule(scope, "run_metric_threshold", threshold(), period=0)
    assert is_cared_for()
    automation.config = threshold("accuracy")
    save_automation(automation, scope=scope)
    assert not is_cared_for()
    automation.config = threshold("loss")
    save_automation(automation, scope=scope)
    assert is_cared_for()
    set_mode(automation, Mode.DISABLED)
    assert not is_cared_for()
    set_mode(automation, Mode.SHADOW)
    assert is_cared_for()
    delete_automation(automation)
    assert not is_cared_for()
    assert Automation.objects.count() == 1


def test_a_rule_that_moves_is_gone_from_where_it_was(run: Run, penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    log(run, "loss", [0.9])
    assert waits(run)
    cast.decide()
    save_automation(automation, scope=penguins.otters)
    log(run, "loss", [0.9])
    assert not waits(run)


def test_a_rule_edited_while_a_batch_waits_is_asked_as_it_is_now(run: Run, penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    log(run, "loss", [0.9])
    set_mode(automation, Mode.DISABLED)
    cast.decide()
    assert fired(automation) == 0
    assert not waits(run)


def test_a_change_that_was_rolled_back_is_not_remembered(run: Run, penguins: Cast) -> None:
    with transaction.atomic():
        rule(penguins.project, "run_metric_threshold", threshold())
        transaction.set_rollback(True)
    log(run, "loss", [0.9])
    assert not waits(run)


def test_batches_that_nobody_watches_read_no_rules_twice(run: Run) -> None:
    log(run, "loss", [0.9])
    with CaptureQueriesContext(
        connection,
    ) as queries:
        for _batch in range(3):
            log(run, "loss", [0.9])
    assert not [query for query in queries if "automations_automation" in query["sql"]]
