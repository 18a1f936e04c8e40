"""Any number of workers, at the same moment, decide every change once."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import transaction

from automations import candidates, evaluation, firing, outbox
from automations.batches import Ahead
from automations.models import Automation, Delivery, Event, Execution, Mode, RunLimit
from registry.services.versions import create_version
from runs.models import Lane, Run, RunStatus
from runs.services import lanes
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, at_once, fired, log, new_run, rule, skipped, steps, threshold


def is_settled(run: Run) -> bool:
    lane = Lane.objects.get(pk=run.pk)
    return lane.cursor == lane.head


@pytest.mark.django_db(transaction=True)
class TestManyWorkers:
    def test_a_lane_full_of_batches_is_decided_once_and_in_order(self, penguins: Cast) -> None:
        automation = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
        run = new_run(penguins.project)
        for _batch in range(25):
            log(run, "loss", [0.9, 0.1])
        at_once(8, lambda _worker: evaluation.evaluate_lane(run.pk))
        assert steps(automation) == list(range(0, 50, 2))
        assert Delivery.objects.count() == 25
        assert is_settled(run)

    def test_a_lane_that_is_longer_than_one_look_is_decided_to_its_end(self, penguins: Cast) -> None:
        from unittest.mock import patch

        automation = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
        run = new_run(penguins.project)
        for number in range(20):
            log(run, "loss", [0.9 if number % 4 == 3 else 0.1])
            if number % 7 == 0:
                set_status(run, RunStatus.RUNNING if number % 2 else RunStatus.FINISHED, actor=None)
        with patch.object(evaluation, "_STRETCH", 3):
            at_once(4, lambda _worker: evaluation.evaluate_lane(run.pk))
        assert steps(automation) == [3, 7, 11, 15, 19]
        assert is_settled(run)
        assert not Event.objects.filter(decided_at=None).exists()

    def test_an_artifact_event_is_decided_once(self, penguins: Cast) -> None:
        automation = rule(penguins.project, "alias_added", {"alias": "^latest$"})
        create_version(cast.collection(penguins.project), actor=None)
        event = Event.objects.get(type="alias_added")
        at_once(8, lambda _worker: evaluation.evaluate_event(event.pk))
        assert fired(automation) == 1
        assert Delivery.objects.count() == 1

    def test_writers_and_workers_together_miss_nothing(self, penguins: Cast) -> None:
        """Every batch holds one match; the rule on the whole team counts the days' limit beside it."""
        every = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
        daily = rule(penguins.team, "run_metric_threshold", threshold())
        runs = [new_run(penguins.project) for _run in range(2)]

        def work(who: int) -> None:
            for _turn in range(6):
                if who < 4:
                    log(runs[who % 2], "loss", [0.9])
                else:
                    for run in runs:
                        evaluation.evaluate_lane(run.pk)

        at_once(8, work)
        for run in runs:
            evaluation.evaluate_lane(run.pk)
            assert is_settled(run)
        per_batch = Counter(Execution.objects.filter(automation=every).values_list("dedup_key", flat=True))
        assert len(per_batch) == 24
        assert set(per_batch.values()) == {1}
        assert fired(daily) == 2
        assert [row.count for row in skipped(daily)] == [11, 11]

    def test_of_forty_who_race_for_one_limit_one_fires_and_the_rest_is_counted(self, penguins: Cast) -> None:
        """The lane would keep them apart; here they go straight for the limit's row."""
        automation = rule(penguins.project, "run_metric_threshold", threshold())
        run = new_run(penguins.project)
        for _batch in range(40):
            log(run, "loss", [0.9])
        lane = lanes.waiting(run.pk)
        assert lane is not None
        waiting = evaluation._waiting(lane, after=lane.cursor)
        ahead = Ahead(waiting)
        decisions = [decision for change in waiting for decision in evaluation._decide(change, ahead)]
        assert len(decisions) == 40

        def record(number: int) -> None:
            with transaction.atomic():
                Lane.objects.select_for_update().get(pk=run.pk)
                firing.record([decisions[number]])

        def race(number: int) -> bool:
            with transaction.atomic():
                return firing._take(firing._limit(decisions[number]), decisions[number])

        wins = at_once(40, race)
        assert sum(wins) == 1
        RunLimit.objects.all().delete()
        at_once(40, record)
        assert fired(automation) == 1
        (row,) = skipped(automation)
        assert row.count == 39
        assert row.explanation["data"]["count"] == 39


@pytest.mark.django_db(transaction=True)
class TestInterrupted:
    def test_a_worker_that_dies_while_recording_leaves_nothing_and_the_next_one_fires(
        self, penguins: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class PowerCutError(Exception):
            pass

        def die(*_arguments: object, **_named: object) -> None:
            raise PowerCutError

        automation = rule(penguins.project, "run_metric_threshold", threshold())
        run = new_run(penguins.project)
        evaluation.evaluate_lane(run.pk)
        log(run, "loss", [0.9])
        before = Event.objects.count()
        with monkeypatch.context() as patched:
            patched.setattr(outbox, "publish", die)
            with pytest.raises(PowerCutError):
                evaluation.evaluate_lane(run.pk)
        assert (fired(automation), RunLimit.objects.count(), Event.objects.count()) == (0, 0, before)
        assert not is_settled(run)

        evaluation.evaluate_lane(run.pk)
        assert fired(automation) == 1
        assert is_settled(run)

    def test_a_worker_that_was_overtaken_throws_its_work_away(
        self, penguins: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It had decided, and stood still before writing; meanwhile somebody else wrote."""
        automation = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
        run = new_run(penguins.project)
        evaluation.evaluate_lane(run.pk)
        log(run, "loss", [0.9])
        settle = evaluation._settle
        overtaken = []

        def slow_settle(*arguments: object, **named: object) -> bool:
            monkeypatch.setattr(evaluation, "_settle", settle)
            evaluation.evaluate_lane(run.pk)
            overtaken.append(settle(*arguments, **named))  # type: ignore[arg-type]
            return overtaken[0]

        monkeypatch.setattr(evaluation, "_settle", slow_settle)
        evaluation.evaluate_lane(run.pk)
        assert overtaken == [False]
        assert fired(automation) == 1
        assert Event.objects.filter(type="run_metric_threshold").count() == 1

    def test_a_worker_that_was_overtaken_on_an_artifact_event_counts_nothing_twice(
        self, penguins: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        firing_rule = rule(penguins.project, "alias_added", {"alias": "^latest$"})
        muted_rule = rule(penguins.project, "alias_added", {"alias": "^latest$"}, mode=Mode.MUTED)
        create_version(cast.collection(penguins.project), actor=None)
        event = Event.objects.get(type="alias_added")
        for_event = candidates.for_event

        def slow(asked: Event) -> list[Automation]:
            found = for_event(asked)
            monkeypatch.setattr(candidates, "for_event", for_event)
            evaluation.evaluate_event(event.pk)
            return found

        monkeypatch.setattr(candidates, "for_event", slow)
        evaluation.evaluate_event(event.pk)
        assert fired(firing_rule) == 1
        assert [row.count for row in skipped(muted_rule)] == [1]

    def test_what_is_rolled_back_leaves_no_event_and_no_number(self, penguins: Cast) -> None:
        rule(penguins.project, "run_metric_threshold", threshold())
        run = new_run(penguins.project)
        before = Lane.objects.get(pk=run.pk).head
        with transaction.atomic():
            log(run, "loss", [0.9])
            set_status(run, RunStatus.FINISHED, actor=None)
            transaction.set_rollback(True)
        assert Lane.objects.get(pk=run.pk).head == before
        assert Event.objects.count() == 1
        assert not run.batches.exists()
