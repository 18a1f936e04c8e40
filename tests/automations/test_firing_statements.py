"""What firing and sending cost the database: statements are few, and say what the ORM would say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from pytest_httpserver import HTTPServer

from automations import claims, delivery, doorbell, evaluation, firing
from automations.batches import Ahead
from automations.models import Delivery, Execution, Integration, Outlet, Secret
from runs.models import Run
from runs.services import lanes
from runs.statements import Columns
from tests import cast
from tests.cast import Cast, log_points, new_run, rule, sends, threshold

pytestmark = pytest.mark.django_db

METRICS = [f"loss_{number}" for number in range(12)]


@pytest.fixture
def rings() -> Iterator[list[tuple[str, int | None]]]:
    heard: list[tuple[str, int | None]] = []
    with doorbell.answered_by(lambda task, argument: heard.append((task, argument))):
        yield heard


@pytest.fixture
def hook(penguins: Cast, loopback: None, httpserver: HTTPServer) -> Integration:
    httpserver.expect_request("/hook").respond_with_data("thanks")
    token = cast.secret(penguins.team, "TOKEN", "a token")
    key = cast.secret(penguins.team, "KEY", "a key")
    return cast.webhook(penguins.team, httpserver.url_for("/hook"), access_token=token, signing_secret=key)


def _watch(penguins: Cast, hook: Integration, count: int) -> Run:
    """A run of which one batch waits that so many rules fire on."""
    for metric in METRICS[:count]:
        said = {"text": "${run_name}: ${metric_value}"}
        rule(penguins.project, "run_metric_threshold", threshold(metric), period=0, actions=sends(hook, said))
    run = new_run(penguins.project)
    cast.decide()
    log_points(run, [{"values": dict.fromkeys(METRICS, 0.9)}])
    return run


def _statements(work: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        work()
    return len(queries)


def test_twelve_rules_that_fire_on_a_batch_cost_as_many_statements_as_two(
    penguins: Cast, hook: Integration
) -> None:
    few = _watch(penguins, hook, 2)
    of_few = _statements(lambda: evaluation.evaluate_lane(few.pk))
    assert Delivery.objects.count() == 2
    many = _watch(penguins, hook, 12)
    of_many = _statements(lambda: evaluation.evaluate_lane(many.pk))
    assert Delivery.objects.count() == 2 + 14  # the first two rules and the twelve
    assert of_many == of_few


def test_the_messages_of_one_batch_ring_once(
    penguins: Cast,
    hook: Integration,
    rings: list[tuple[str, int | None]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    run = _watch(penguins, hook, 12)
    with django_capture_on_commit_callbacks(execute=True):
        evaluation.evaluate_lane(run.pk)
    assert rings == [("drain", hook.pk)]
    assert Delivery.objects.filter(integration=hook, state="pending").count() == 12


def test_what_is_decided_twice_is_written_once(penguins: Cast, hook: Integration) -> None:
    run = _watch(penguins, hook, 3)
    lane = lanes.waiting(run.pk)
    assert lane is not None
    (change,) = evaluation._waiting(lane, after=lane.cursor)
    decisions = evaluation._decide(change, Ahead([change]))
    assert len(decisions) == 3
    for _time in range(2):
        firing.record(decisions)
    firing.record([decisions[1]])
    assert [execution.automation_id for execution in Execution.objects.order_by("pk")] == [
        decision.automation.pk for decision in decisions
    ]


def test_a_message_takes_few_statements(penguins: Cast, hook: Integration) -> None:
    run = _watch(penguins, hook, 12)
    evaluation.evaluate_lane(run.pk)
    delivery.drain(hook.pk)
    log_points(run, [{"values": dict.fromkeys(METRICS, 0.9)}])
    evaluation.evaluate_lane(run.pk)
    asks_for_the_time = 3 if connection.vendor == "postgresql" else 0
    last_look = 2
    assert _statements(lambda: delivery.drain(hook.pk)) <= 12 * (20 + asks_for_the_time) + last_look
    assert Delivery.objects.filter(state="succeeded").count() == 24


@pytest.mark.parametrize("model", [Delivery, Execution, Integration, Outlet, Secret])
def test_rows_that_are_read_by_hand_are_what_the_orm_reads(
    penguins: Cast, hook: Integration, model: type[Model]
) -> None:
    run = _watch(penguins, hook, 2)
    evaluation.evaluate_lane(run.pk)
    assert claims.take(hook.pk) is not None  # so that one has a lease
    columns = Columns(model, "x")
    with connection.cursor() as cursor:
        table = model._meta.db_table
        cursor.execute(f"SELECT {columns.text} FROM {table} x ORDER BY x.id")  # noqa: S608
        read = [columns.read(row) for row in cursor.fetchall()]
    known = list(model._default_manager.order_by("pk"))
    assert known, model
    names = [field.attname for field in model._meta.concrete_fields]
    assert [[getattr(row, name) for name in names] for row in read] == [
        [getattr(row, name) for name in names] for row in known
    ]
    assert [row._state.adding for row in read] == [False] * len(read)


def test_what_is_taken_brings_its_integration_with_the_secrets(penguins: Cast, hook: Integration) -> None:
    evaluation.evaluate_lane(_watch(penguins, hook, 1).pk)
    claim = claims.take(hook.pk)
    assert claim is not None
    integration = claim.integration
    assert integration is not None

    def names() -> list[str]:
        secrets = [integration.access_token, integration.signing_secret, integration.signing_secret_previous]
        return [secret.name for secret in secrets if secret]

    with CaptureQueriesContext(connection) as queries:
        assert names() == ["TOKEN", "KEY"]
    assert len(queries) == 0
