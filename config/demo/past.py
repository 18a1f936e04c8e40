"""What happened in the example before anybody looked: forty runs, what they made, what people did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from random import Random

from django.utils import timezone

from automations.services import targets
from config.demo import curves, plans, rules
from config.demo.cast import Cast, Crew
from config.demo.hourglass import Hourglass
from config.demo.plans import Curve, Plan
from config.demo.shelf import Shelf
from config.demo.story import Story
from runs import ingest
from runs.models import MetricSummary, Run, RunStatus, User
from runs.names import make_run_name
from runs.services.metrics import log_metrics
from runs.services.runs import heartbeat, set_status, start_run

Say = Callable[[str], None]

_SEED = 2024
# Calls in which a run's values came; in truth there were many more of them.
_CALLS = 8
_MACHINE_EVERY = timedelta(seconds=60)
_MACHINE_CALLS = 2
# The last that happened, so long ago.
_UNTIL = timedelta(minutes=20)
_SAY_EVERY = 7
_CRASHED_AFTER = timedelta(minutes=5)


@dataclass
class Past:
    """The past while it is told."""

    cast: Cast
    story: Story
    shelf: Shelf
    beginning: datetime
    say: Say
    chance: Random = field(default_factory=lambda: Random(_SEED))
    planned: int = 0
    over: int = 0

    def moment(self, place: float) -> datetime:
        """0 is the beginning of the past, 1 its end."""
        return self.beginning + place * plans.PAST

    def plan(self) -> None:
        self.story.at(self.beginning, self.shelf.open)
        works: list[tuple[Crew, list[Plan], Curve]] = [
            (self.cast.seabirds, plans.classifier_plans(self.chance), curves.classifier),
            (self.cast.voyagers, plans.language_plans(self.chance), curves.language_model),
        ]
        for crew, planned, curve in works:
            self.planned += len(planned)
            for plan in planned:
                lived = _Life(self, crew, plan, curve, Random(f"{crew.team.name} {plan.number}"))
                self.story.at(self.moment(plan.begins), lived.begin)
        self._plan_registry()

    def _plan_registry(self) -> None:
        """How people move what is in the registry; by then there is something in it."""
        shelf, birds, logs = self.shelf, self.cast.seabirds, self.cast.voyagers
        for place, crew, act in (
            (0.2, birds, shelf.approve),
            (0.21, birds, shelf.promote),
            (0.32, logs, shelf.approve),
            (0.33, logs, shelf.promote),
            (0.45, birds, shelf.approve),
            (0.46, birds, shelf.promote),
            (0.62, logs, shelf.approve),
            (0.63, logs, shelf.withdraw),
            (0.7, birds, shelf.approve),
            (0.71, birds, shelf.promote),
            (0.86, logs, shelf.approve),
            (0.87, logs, shelf.promote),
            (0.93, birds, shelf.approve),
            (0.94, birds, shelf.promote),
        ):
            self.story.at(self.moment(place), partial(act, crew.project, actor=crew.lead))
        for place, on in ((0.5, True), (0.56, False)):
            deed = partial(shelf.deprecate, logs.project, actor=logs.lead, on=on)
            self.story.at(self.moment(place), deed)
        # Nobody thought of the rule that still sends there; later somebody did.
        self.story.at(self.moment(0.4), partial(targets.delete_target, self.cast.pager_inbox))
        self.story.at(self.moment(0.75), self._give_up_pager)

    def _give_up_pager(self) -> None:
        reason = "The pager was given up; its inbox is gone."
        targets.set_integration_enabled(self.cast.pager, enabled=False, reason=reason)

    def count_one(self) -> None:
        self.over += 1
        if self.over % _SAY_EVERY == 0 or self.over == self.planned:
            self.say(f"  {self.over} of {self.planned} runs")


@dataclass
class _Life:
    """One run, from its beginning to its end."""

    past: Past
    crew: Crew
    plan: Plan
    curve: Curve
    chance: Random
    run: Run = field(init=False)

    @property
    def user(self) -> User:
        return self.crew.people[self.plan.by]

    def begin(self) -> None:
        waits = self.plan.ending.status == RunStatus.PENDING
        self.run, _created = start_run(
            self.crew.project,
            self.user,
            run_id="".join(self.chance.choices("abcdefghijkmnpqrstuvwxyz23456789", k=8)),
            name=make_run_name(self.plan.number + 1, chance=self.chance),
            status=RunStatus.PENDING if waits else RunStatus.RUNNING,
            config=self.plan.config,
        )
        if waits:
            self.past.count_one()
            return
        heartbeat(self.run, actor=self.user)
        self.past.shelf.read(self.run)
        self._foresee(timezone.now())

    def _foresee(self, began: datetime) -> None:
        """All that the run will log, and its end."""
        plan, story = self.plan, self.past.story
        steps = int(plan.training.steps * plan.ending.done)
        pace = plan.lasts / plan.training.steps
        values = self.curve(plan.training, self.chance)
        points = self._points(islice(values, steps), began, pace)
        samples = int(plan.lasts / _MACHINE_EVERY)
        told = curves.machine(plan.training, samples, self.chance)
        figures = self._points(islice(told, int(samples * plan.ending.done)), began, _MACHINE_EVERY)
        self._log_all(points, "history", _CALLS)
        self._log_all(figures, "system", _MACHINE_CALLS)
        end = began + steps * pace
        after = _CRASHED_AFTER if plan.ending.status == RunStatus.CRASHED else timedelta(seconds=3)
        story.at(end, partial(heartbeat, self.run, actor=self.user))
        story.at(end + after, self.end)

    def _points(
        self, values: Iterator[curves.Values], began: datetime, pace: timedelta
    ) -> list[ingest.Point]:
        return [
            # Each as a dict of the kind that the wire gives.
            ingest.Point(values={**each}, step=step, timestamp=(began + (step + 1) * pace).timestamp())
            for step, each in enumerate(values)
        ]

    def _log_all(self, points: Sequence[ingest.Point], source: str, calls: int) -> None:
        size = max(1, -(-len(points) // calls))
        for first in range(0, len(points), size):
            call = ingest.Call(points=list(points[first : first + size]), source=source)  # type: ignore[arg-type]
            moment = datetime.fromtimestamp(call.points[-1].timestamp or 0, self.past.beginning.tzinfo)
            self.past.story.at(moment, partial(log_metrics, self.run, call))

    def end(self) -> None:
        """A crash is what the sweep makes of a run that fell silent: nobody's doing."""
        status = self.plan.ending.status
        actor = None if status == RunStatus.CRASHED else self.user
        set_status(self.run, status, actor=actor)
        if status == RunStatus.FINISHED:
            summaries = MetricSummary.objects.filter(run=self.run, name__startswith="val/")
            metrics = {row.name: row.last_finite for row in summaries if row.last_finite is not None}
            self.past.story.at(timezone.now() + timedelta(minutes=1), partial(self._keep, metrics))
        self.past.count_one()

    def _keep(self, metrics: dict[str, float]) -> None:
        self.past.shelf.keep(self.crew, self.run, metrics)


def tell(glass: Hourglass, cast: Cast, say: Say) -> None:
    """Everything until a little while ago, through the services, decided and delivered."""
    beginning = glass.now()
    story = Story(glass, beginning + plans.PAST - _UNTIL)
    past = Past(cast, story, Shelf(cast, Random(_SEED)), beginning, say)
    rules.arm(cast, until=beginning + plans.PAST + timedelta(days=7))
    past.plan()
    story.tell()
