"""Plots: a rule that would fire on a run, but for one cause that is planted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from automations.models import Attempt, Automation, Delivery, Execution, Mode
from automations.services.rules import ActionDraft, save_automation, set_mode
from runs.models import Project, Run, RunStatus
from runs.services.projects import create_project
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, Clock, log, new_run, rule, threshold

Values = Sequence[float | str]


@dataclass(frozen=True)
class Watched:
    """A kind of rule, values on which it fires, and values on which it does not."""

    event_type: str
    config: dict[str, Any]
    hot: Values
    cold: Values
    need: int = 0  # values that fill its windows

    @property
    def window_cold(self) -> Values:
        return self.hot[: self.need - 1]


CHANGE = {"metric": "loss", "direction": "increase", "threshold": 0.5}
ZSCORE = {"metric": "loss", "direction": "either", "threshold": 3}
KINDS = {
    "threshold": Watched(
        "run_metric_threshold",
        threshold("loss", "above", 0.6, aggregation="average", window=3),
        [0.1, 0.9, 0.9, 0.9],
        [0.1, 0.2, 0.6, 0.8, "NaN", 0.1],
        need=3,
    ),
    "change": Watched(
        "run_metric_change",
        {**CHANGE, "window": 2, "prior_window": 2},
        [1, 1, 1, 2, 2],
        [1, 1, 1.2, 1.4, 1.3, 1.1],
        need=4,
    ),
    "values": Watched(
        "run_metric_zscore",
        {**ZSCORE, "baseline": "values", "window": 4},
        [0.4, 0.6, 0.4, 0.6, 5],
        [0.4, 0.6, 0.4, 0.6, 0.5, 0.6, 0.4],
        need=5,
    ),
    "runs": Watched("run_metric_zscore", {**ZSCORE, "window": 2}, [5], [0.5, 0.6]),
    "nonfinite": Watched("run_metric_nonfinite", {"metric": "loss"}, [1, "NaN"], [1, 2]),
    "status": Watched("run_status", {"statuses": ["finished"]}, [], []),
}
METRIC_KINDS = [name for name in KINDS if name != "status"]


@dataclass
class Scene:
    """A project of its own, where the stories of one kind of rule are told."""

    who: Cast
    watched: Watched
    project: Project
    clock: Clock

    def rule(
        self, *, scope: Any = None, mode: Mode = Mode.ACTIVE, actions: Any = None, **config: Any
    ) -> Automation:
        saved = rule(
            scope or self.project,
            self.watched.event_type,
            {**self.watched.config, **config},
            mode=mode,
            actions=[ActionDraft("noop")] if actions is None else actions,
        )
        self.clock.move(seconds=1)
        return saved

    def run(self, values: Values | None = None, *, source: str = "history", metric: str = "loss") -> Run:
        """A run of Ada's that logs these values, by default the ones on which the rule fires."""
        run = new_run(self.project, user=self.who.ada, name="night-7")
        self.log(run, self.watched.hot if values is None else values, source=source, metric=metric)
        if self.watched.event_type == "run_status":
            set_status(run, RunStatus.FINISHED, actor=None)
        return run

    def log(self, run: Run, values: Values, *, source: str = "history", metric: str = "loss") -> None:
        cut = len(values) // 2
        for part in (values[:cut], values[cut:]):
            if part:
                log(run, metric, part, source=source)


Plot = Callable[[Scene], tuple[Automation, Run]]


def disabled(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(mode=Mode.DISABLED), scene.run()


def other_scope(scene: Scene) -> tuple[Automation, Run]:
    elsewhere = random.Random(scene.project.pk).choice(
        [create_project(scene.who.team, f"dive {scene.project.pk}"), scene.who.otters]
    )
    return scene.rule(scope=elsewhere), scene.run()


def user_filter(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(user="max"), scene.run()


def name_filter(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(run_name="^day-"), scene.run()


def never_logged(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(metric="losss"), scene.run()


def nothing_logged(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(), scene.run([])


def other_source(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(source="history"), scene.run(source="system")


def named_source(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(metric="system.loss"), scene.run()


def window_not_full(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(), scene.run(scene.watched.window_cold)


def warming_up(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(warmup=len(scene.watched.hot)), scene.run()


def no_number(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(), scene.run(["NaN", "Infinity", "NaN"])


def condition_false(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(), scene.run(scene.watched.cold)


def not_held(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(hold=9), scene.run([*scene.watched.hot, *scene.watched.cold, *scene.watched.hot])


def killed(scene: Scene) -> tuple[Automation, Run]:
    automation = scene.rule()
    run = scene.run([])
    set_status(run, RunStatus.KILLED, actor=None)
    scene.log(run, scene.watched.hot)
    return automation, run


def killed_meanwhile(scene: Scene) -> tuple[Automation, Run]:
    """It met the condition only while it was killed; long before it was revived its windows had cooled."""
    automation = scene.rule()
    run = scene.run(scene.watched.cold)
    set_status(run, RunStatus.KILLED, actor=None)
    scene.log(run, scene.watched.hot)
    scene.log(run, list(scene.watched.cold) * 2)
    set_status(run, RunStatus.RUNNING, actor=None)
    scene.log(run, scene.watched.cold)
    return automation, run


def armed_later(scene: Scene) -> tuple[Automation, Run]:
    run = scene.run()
    scene.clock.move(seconds=1)
    return scene.rule(), run


def limited(scene: Scene) -> tuple[Automation, Run]:
    """It fired before its condition was edited; the day is not over."""
    automation, run = scene.rule(), scene.run()
    cast.decide()
    scene.clock.move(seconds=1)
    automation.config = {**automation.config, "run_name": "night"}
    save_automation(automation, scope=automation.scope)
    scene.clock.move(hours=2)
    if scene.watched.event_type == "run_status":
        set_status(run, RunStatus.RUNNING, actor=None)
        set_status(run, RunStatus.FINISHED, actor=None)
    scene.log(run, scene.watched.hot)
    return automation, run


def muted(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(mode=Mode.MUTED), scene.run()


def delivery_failed(scene: Scene) -> tuple[Automation, Run]:
    """One of two messages arrived."""
    hooks = [
        cast.webhook(scene.who.team, f"https://{name}.example.com/", name=f"{name} {scene.project.pk}")
        for name in ("down", "up")
    ]
    automation, run = scene.rule(actions=[*cast.sends(hooks[0]), *cast.sends(hooks[1])]), scene.run()
    cast.decide()
    down, up = Delivery.objects.filter(execution__automation=automation).order_by("pk")
    for delivery, state, status in ((down, "failed", 502), (up, "succeeded", 200)):
        Delivery.objects.filter(pk=delivery.pk).update(state=state)
        Attempt.objects.create(
            delivery=delivery, number=1, started_at=scene.clock(), duration=0.1, status_code=status
        )
    Execution.objects.filter(automation=automation).exclude(state="skipped").update(state="failed")
    return automation, run


def shadow(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(mode=Mode.SHADOW), scene.run()


def fired(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(), scene.run()


def disabled_after_it_fired(scene: Scene) -> tuple[Automation, Run]:
    automation, run = scene.rule(), scene.run()
    cast.decide()
    set_mode(automation, Mode.DISABLED)
    return automation, run


def too_few_runs(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(window=30), scene.run()


def no_deviation(scene: Scene) -> tuple[Automation, Run]:
    for other in Run.objects.filter(project=scene.project):
        log(other, "loss", [0.7])
    return scene.rule(), scene.run()


def diverged_before(scene: Scene) -> tuple[Automation, Run]:
    run = scene.run()
    scene.clock.move(seconds=1)
    automation = scene.rule()
    scene.log(run, scene.watched.hot)
    return automation, run


def other_state(scene: Scene) -> tuple[Automation, Run]:
    return scene.rule(statuses=["failed"]), scene.run()


def scene_of(who: Cast, clock: Clock, kind: str) -> Scene:
    scene = Scene(who, KINDS[kind], create_project(who.team, f"{kind} {Project.objects.count()}"), clock)
    for value in (0.4, 0.6) if kind == "runs" else ():
        for source in ("history", "system"):
            log(new_run(scene.project), "loss", [value], source=source)
    clock.move(seconds=1)
    return scene
