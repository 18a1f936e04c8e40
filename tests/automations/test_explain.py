"""`explain` names the one thing that kept a rule from firing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from automations import explain
from automations.events.base import EVENTS
from automations.models import Attempt, Automation, Delivery, Execution, Mode
from automations.services.rules import save_automation, set_mode
from registry.services.collections import create_collection, remove_alias, set_alias
from registry.services.versions import create_version, link_version
from runs.models import Project, Run, RunStatus
from runs.services.projects import create_project
from runs.services.runs import delete_run, set_status, update_run
from tests import cast
from tests.api.house import Api
from tests.cast import Cast, Clock, log, new_run, rule, threshold

pytestmark = pytest.mark.django_db

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
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.watched.config)

    def rule(self, *, scope: Any = None, mode: Mode = Mode.ACTIVE, actions: Any = None, **config: Any) -> Automation:
        saved = rule(
            scope or self.project,
            self.watched.event_type,
            {**self.config, **config},
            mode=mode,
            actions=[cast.ActionDraft("noop")] if actions is None else actions,
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


WINDOWED = ["threshold", "change", "values", "runs"]
# The plot, for which kinds of rule, the code of the answer, and whether it fired.
PLOTS: list[tuple[Plot, list[str], str, bool]] = [
    (disabled, [*KINDS], "disabled", False),
    (other_scope, [*KINDS], "other_scope", False),
    (user_filter, [*KINDS], "user_differs", False),
    (name_filter, [*KINDS], "run_name_differs", False),
    (never_logged, METRIC_KINDS, "never_logged", False),
    (nothing_logged, METRIC_KINDS, "nothing_logged", False),
    (other_source, METRIC_KINDS, "only_other_source", False),
    (named_source, METRIC_KINDS, "only_other_source", False),
    (window_not_full, ["threshold", "change", "values"], "window_not_full", False),
    (warming_up, WINDOWED, "window_not_full", False),
    (warming_up, ["nonfinite"], "never_nonfinite", False),
    (no_number, WINDOWED, "no_finite_value", False),
    (condition_false, WINDOWED, "closest", False),
    (condition_false, ["nonfinite"], "never_nonfinite", False),
    (not_held, ["threshold"], "closest", False),
    (not_held, ["runs"], "not_evaluated", False),
    (not_held, ["nonfinite"], "never_nonfinite", False),
    (killed, METRIC_KINDS, "killed", False),
    (killed_meanwhile, METRIC_KINDS, "killed", False),
    (armed_later, [*KINDS], "not_since_armed", False),
    (limited, [*WINDOWED, "status"], "limited", False),
    (muted, [*KINDS], "muted", False),
    (delivery_failed, [*KINDS], "delivery_failed", False),
    (too_few_runs, ["runs"], "too_few_runs", False),
    (no_deviation, ["runs"], "no_deviation", False),
    (diverged_before, ["nonfinite"], "seen_before", False),
    (other_state, ["status"], "status_differs", False),
    (shadow, [*KINDS], "", True),
    (fired, [*KINDS], "", True),
    (disabled_after_it_fired, [*KINDS], "", True),
]


def scene_of(who: Cast, clock: Clock, kind: str) -> Scene:
    scene = Scene(who, KINDS[kind], create_project(who.team, f"{kind} {Project.objects.count()}"), clock)
    for value in (0.4, 0.6):
        log(new_run(scene.project, name="other"), "loss", [value])
        log(Run.objects.latest("pk"), "loss", [value], source="system")
    clock.move(seconds=1)
    return scene


@pytest.mark.parametrize(
    ("plot", "kinds", "code", "fires"), [pytest.param(*each, id=f"{each[0].__name__} {each[2]}") for each in PLOTS]
)
def test_the_planted_cause_is_named(
    penguins: Cast, clock: Clock, plot: Plot, kinds: list[str], code: str, fires: bool
) -> None:
    for kind in kinds:
        automation, run = plot(scene_of(penguins, clock, kind))
        cast.decide()
        answer = explain.why_run(automation, Run.objects.get(pk=run.pk))
        as_json = answer.as_json(EVENTS[automation.event_type])
        assert answer.fired == fires, (kind, as_json)
        assert answer.reason.code == (code or REASONS[kind]), (kind, as_json)
        assert as_json["text"] and "%" not in as_json["text"], (kind, as_json)
        assert (as_json["execution"] is not None) == (
            fires or code in {"limited", "muted", "delivery_failed"}
        ), kind
        check = DETAILS.get(plot.__name__)
        assert check is None or check(as_json, KINDS[kind], clock), (kind, as_json)


REASONS = {
    "threshold": "threshold_average",
    "change": "change_relative",
    "values": "zscore_values",
    "runs": "zscore_runs",
    "nonfinite": "nonfinite",
    "status": "status_changed",
}

# What the answer must say beside its code.
DETAILS: dict[str, Callable[[dict[str, Any], Watched, Clock], bool]] = {
    "user_filter": lambda said, _kind, _clock: (said["user"], said["wanted"]) == ("ada", "max"),
    "name_filter": lambda said, _kind, _clock: (said["name"], said["pattern"]) == ("night-7", "^day-"),
    "never_logged": lambda said, _kind, _clock: said["nearest"] == ["loss"] and "“loss”" in said["text"],
    "other_source": lambda said, _kind, _clock: (said["logged"], said["wanted"]) == ("System", "History"),
    "window_not_full": lambda said, kind, _clock: (said["have"], said["need"]) == (kind.need - 1, kind.need),
    "delivery_failed": lambda said, _kind, _clock: said["problem"] == "HTTP 502",
    "limited": lambda said, _kind, clock: said["until"] > clock().isoformat(),
    "shadow": lambda said, _kind, _clock: said["state"] == "shadow",
    "fired": lambda said, _kind, _clock: said["state"] == "finished" or said["state"] == "pending",
    "too_few_runs": lambda said, _kind, _clock: (said["have"], said["need"]) == (2, 10),
}


def test_what_waits_for_its_worker_is_said_to_match(penguins: Cast, clock: Clock) -> None:
    for kind in KINDS:
        automation, run = fired(scene_of(penguins, clock, kind))
        answer = explain.why_run(automation, run)
        assert (answer.fired, answer.reason.code) == (False, "matches_now"), kind
        cast.decide()
        assert explain.why_run(automation, run).fired


def test_only_values_that_the_filters_let_through_are_the_closest(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(value=1, run_name="^exp-"))
    run = new_run(penguins.project, name="exp-1")
    for name, value in [("exp-1", 0.5), ("foo", 0.8), ("exp-2", 0.6), ("foo", 0.9)]:
        update_run(run, name=name)
        log(run, "loss", [value])
    cast.decide()
    reason = explain.why_run(automation, run).reason
    assert (reason.code, reason.data["value"], reason.data["step"]) == ("closest", 0.6, 2)

    log(run, "loss", [1.5])
    cast.decide()
    reason = explain.why_run(automation, run).reason
    assert (reason.code, reason.data["name"]) == ("run_name_differs", "foo")


def test_a_run_event_of_a_version_and_the_reverse_are_another_kind_of_thing(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    version, _created = create_version(fish, actor=None)
    on_run = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    on_version = rule(penguins.project, "version_added", {})
    on_collection = rule(penguins.project, "collection_tag_added", {"tag": "."})
    assert explain.why_version(on_run, version).reason.code == "other_kind"
    assert explain.why_version(on_collection, version).reason.code == "other_kind"
    assert explain.why_run(on_version, new_run(penguins.project)).reason.code == "other_kind"


def test_an_answer_costs_as_many_queries_for_many_batches_as_for_few(penguins: Cast, clock: Clock) -> None:
    for kind in METRIC_KINDS:
        scene = scene_of(penguins, clock, kind)
        automation, run = scene.rule(), scene.run(scene.watched.cold)
        counts = []
        for _turn in range(2):
            cast.decide()
            with CaptureQueriesContext(connection) as queries:
                explain.why_run(automation, Run.objects.get(pk=run.pk))
            counts.append(len(queries))
            for _batch in range(15):
                scene.log(run, scene.watched.cold)
        assert counts[0] == counts[1], kind


# --- Versions -------------------------------------------------------------------------------------


def why(automation: Automation, version: Any) -> tuple[bool, str]:
    answer = explain.why_version(automation, version)
    said = answer.as_json(EVENTS[automation.event_type])
    assert said["text"] and "%(" not in said["text"]
    return answer.fired, answer.reason.code


def test_why_a_version_did_not_fire(penguins: Cast, clock: Clock) -> None:
    fish, krill = (cast.collection(penguins.project, name) for name in ("fish", "krill"))
    shelf = create_collection(cast.registry(), "shelf", actor=None)
    version, _created = create_version(fish, actor=None)
    elsewhere = cast.registry("archive")
    set_alias(fish, "before", version, actor=None)
    clock.move(seconds=1)
    rules = {
        name: rule(scope, event_type, config, name=name, mode=mode)
        for name, scope, event_type, config, mode in [
            ("fired", penguins.project, "alias_added", {"alias": "^prod"}, Mode.ACTIVE),
            ("shadow", fish, "alias_added", {"alias": "^prod"}, Mode.SHADOW),
            ("muted", fish, "alias_added", {"alias": "^prod"}, Mode.MUTED),
            ("disabled", fish, "alias_added", {"alias": "^prod"}, Mode.DISABLED),
            ("other collection", krill, "alias_added", {"alias": "^prod"}, Mode.ACTIVE),
            ("other registry", elsewhere, "version_linked", {}, Mode.ACTIVE),
            ("its registry", shelf.registry, "alias_added", {"alias": "^prod"}, Mode.ACTIVE),
            ("other alias", fish, "alias_added", {"alias": "^stag"}, Mode.ACTIVE),
            ("removed", fish, "alias_removed", {"alias": "."}, Mode.ACTIVE),
            ("added", fish, "version_added", {}, Mode.ACTIVE),
            ("no alias", shelf, "version_unlinked", {"alias": "x"}, Mode.ACTIVE),
        ]
    }
    link_version(shelf, version, actor=None)
    set_alias(fish, "production", version, actor=None)
    cast.decide()
    assert {name: why(automation, version) for name, automation in rules.items()} == {
        "fired": (True, "matches"),
        "shadow": (True, "matches"),
        "muted": (False, "muted"),
        "disabled": (False, "disabled"),
        "other collection": (False, "other_scope"),
        "other registry": (False, "other_scope"),
        "its registry": (False, "differs"),
        "other alias": (False, "differs"),
        "removed": (False, "never_happened"),
        "added": (False, "not_since_armed"),
        "no alias": (False, "never_happened"),
    }
    remove_alias(fish, "production", actor=None)
    assert why(rules["removed"], version) == (False, "matches_now")
    cast.decide()
    assert why(rules["removed"], version) == (True, "matches")


# --- Over REST ------------------------------------------------------------------------------------


@pytest.fixture
def ada(penguins: Cast) -> Api:
    return Api(penguins.ada)


def test_rest_answers_for_a_run_or_a_version_that_the_asker_sees(penguins: Cast, ada: Api) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(value=0.75))
    tagged = rule(penguins.project, "tag_added", {"tag": "."}, name="tagged")
    run = new_run(penguins.project)
    log(run, "loss", [0.5, 0.612])
    version, _created = create_version(cast.collection(penguins.project), actor=None)
    cast.decide()
    answer = ada.get(f"automations/{automation.pk}/explain/?run={run.pk}")
    assert answer.status == 200
    assert answer.json == {
        "fired": False,
        "code": "closest",
        "text": "the condition loss > 0.75 was never met: the closest was 0.612 at step 1; it would fire with "
        "threshold < 0.612",
        "execution": None,
        "state": None,
        "condition": "loss > 0.75",
        "value": 0.612,
        "window": [0.612],
        "step": 1,
        "would_fire": "threshold < 0.612",
    }
    answer = ada.get(f"automations/{tagged.pk}/explain/?version={version.pk}")
    assert (answer.status, answer.json["code"]) == (200, "never_happened")


def test_rest_refuses_what_it_cannot_answer(penguins: Cast, ada: Api) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    theirs = rule(penguins.otters, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    foreign = new_run(create_project(penguins.otters, "raft"))
    gone = new_run(penguins.project)
    delete_run(gone)
    version, _created = create_version(cast.collection(penguins.project), actor=None)
    path = f"automations/{automation.pk}/explain/"
    for query, status in {
        "": 400,
        f"?run={run.pk}&version={version.pk}": 400,
        "?run=": 400,
        "?run=abc": 400,
        "?run=-1": 400,
        "?run=1.5": 400,
        f"?run={run.pk}&step=3": 400,
        f"?run={foreign.pk}": 404,
        f"?run={gone.pk}": 404,
        "?run=" + "9" * 40: 404,
        "?version=999999": 404,
        f"?run={run.pk}": 200,
    }.items():
        assert ada.get(path + query).status == status, query
    assert ada.get(f"automations/{theirs.pk}/explain/?run={run.pk}").status == 404
    assert Api(penguins.vera).get(f"{path}?run={run.pk}").status == 200, "who may look may ask"
    assert Api().get(f"{path}?run={run.pk}").status == 401


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_a_change_beyond_the_range_of_a_double_is_told_in_json(
    penguins: Cast, ada: Api, direction: str
) -> None:
    config = {**CHANGE, "direction": direction, "aggregation": "none", "change_type": "absolute"}
    automation = rule(penguins.project, "run_metric_change", config)
    run = new_run(penguins.project)
    log(run, "loss", [-1.7e308, 1.7e308])
    cast.decide()
    answer = ada.get(f"automations/{automation.pk}/explain/?run={run.pk}")
    assert answer.status == 200
    assert (answer.json["fired"], answer.json["value"]) == (direction == "increase", "Infinity")
    if direction == "increase":
        execution = Execution.objects.get(automation=automation)
        assert execution.event is not None
        assert execution.event.data["metric_value"] == "Infinity"
