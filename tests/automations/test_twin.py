"""The evaluator against its brute-force twin: random rules, series and batchings."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from automations.events.base import EVENTS
from automations.events.metric_nonfinite import NonfiniteFacts, first_divergence
from automations.events.metric_zscore import MIN_RUNS, Compared, ZScoreFacts
from automations.events.metrics import MetricFacts
from automations.models import Automation
from automations.outliers import SLACK
from automations.services.rules import check_event
from automations.windows import Moments, Track
from runs.metrics import Piece, Series
from runs.models.metrics import spelled
from tests import cast
from tests.automations import twin
from tests.cast import Cast, log, new_run, rule, steps

# --- What is drawn --------------------------------------------------------------------------------

SCALES = [1.0, 1.0, 1.0, 1e-8, 1e12, 1e300, 1.7e308, 1e-310, 5e-324]
GRIDS: list[list[float]] = [
    [0.5, 0.6, 0.7],
    [0, 1, -1],
    [0.25, 0.5, 1],
    [0.1],
    [1e-9, 1, 1e9],
    [-0.0, 0.0, 1],
]
NONFINITE = [math.nan, math.inf, -math.inf]
FAR = [1e15, -3e7, 0.1]


@dataclass(frozen=True)
class Rule:
    event_type: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A series, what other runs had logged as of each of its values, its batches and rules on it."""

    values: list[float]
    baselines: list[list[float]]
    cuts: list[int]
    rules: list[Rule]

    @property
    def batches(self) -> Iterator[tuple[int, int]]:
        edges = sorted({0, *self.cuts, len(self.values)})
        return itertools.pairwise(edges)


@st.composite
def series(draw: st.DrawFn) -> list[float]:
    """Grids that hit thresholds exactly, noise, both far from zero, and anything at all."""
    scale = draw(st.sampled_from(SCALES))
    grid = draw(st.sampled_from(GRIDS))
    far = draw(st.sampled_from([0.0, 0.0, *FAR])) * min(scale, 1e290)
    number = draw(
        st.sampled_from(
            [
                st.sampled_from(grid).map(lambda value: value * scale),
                st.floats(-1, 1).map(lambda value: value * scale),
                st.integers(-3, 3).map(lambda value: value * scale / 4 + far),
                st.floats(allow_nan=False, allow_infinity=False),
            ]
        )
    )
    size = draw(st.sampled_from([0, 1, 5, 12, 20, 30, 45]))
    found = draw(st.lists(number, min_size=size, max_size=size))
    # Within the series: of places behind its end few would be left to find.
    places = st.integers(0, max(size - 1, 0))
    odd = draw(st.dictionaries(places, st.sampled_from(NONFINITE), max_size=4))
    return [odd.get(place, value) for place, value in enumerate(found)]


OPTIONS = {
    "metric": st.just("m"),
    "source": st.sampled_from(["auto", "history"]),
    "user": st.none(),
    "run_name": st.none(),
    "warmup": st.sampled_from([0, 0, 0, 1, 3, 20]),
    "hold": st.sampled_from([1, 1, 1, 2, 3]),
}
AGGREGATED = {
    **OPTIONS,
    "aggregation": st.sampled_from(["average", "average", "min", "max", "none"]),
    "window": st.integers(1, 7),
}
KINDS = {
    "run_metric_threshold": st.fixed_dictionaries(
        {
            **AGGREGATED,
            "comparison": st.sampled_from(
                ["above", "above_or_equal", "below", "below_or_equal", "equal", "not_equal"]
            ),
        }
    ),
    "run_metric_change": st.fixed_dictionaries(
        {
            **AGGREGATED,
            "prior_window": st.integers(1, 8),
            "change_type": st.sampled_from(["relative", "absolute"]),
            "direction": st.sampled_from(["increase", "decrease", "any"]),
        }
    ),
    "run_metric_zscore": st.fixed_dictionaries(
        {
            **OPTIONS,
            "window": st.integers(2, 12),
            "baseline": st.sampled_from(["runs", "values"]),
            "direction": st.sampled_from(["above", "below", "either"]),
        }
    ),
    "run_metric_nonfinite": st.fixed_dictionaries(OPTIONS),
}


@st.composite
def rules(draw: st.DrawFn, values: list[float], baselines: list[list[float]]) -> Rule:
    """A rule whose threshold is often one of the very numbers that it is compared with."""
    event_type = draw(st.sampled_from([*KINDS]))
    config = draw(KINDS[event_type])
    if event_type == "run_metric_nonfinite":
        return Rule(event_type, config)
    seen = [number for _place, number in twin.numbers(event_type, config, values, baselines)]
    borders = [abs(number) if event_type != "run_metric_threshold" else number for number in seen]
    borders = [border for border in borders if math.isfinite(border)]
    threshold = draw(st.sampled_from([*borders, 0.6, 1.0]))
    nudge = draw(st.sampled_from([0, 0, 0, 1, -1]))
    if nudge:
        threshold = math.nextafter(threshold, math.inf * nudge)
    if event_type != "run_metric_threshold":
        threshold = max(threshold, math.ulp(0.0))
    return Rule(event_type, {**config, "threshold": min(max(threshold, -1.7e308), 1.7e308)})


@st.composite
def cases(draw: st.DrawFn) -> Case:
    values = draw(series())
    cuts = draw(st.lists(st.integers(0, len(values)), max_size=6))
    if draw(st.booleans()):
        cuts = draw(st.sampled_from([list(range(len(values))), cuts]))
    # Other runs log now and then, between two batches.
    changes = sorted({0, *(cut for cut in cuts if draw(st.booleans()))}) if len(cuts) < 10 else [0, 3, 4]
    other = st.floats(-1, 1) | st.sampled_from([0.5, 0.6, 0.7])
    logged = {change: draw(st.lists(other, max_size=13)) for change in changes}
    baselines = [logged[max(c for c in changes if c <= place)] for place in range(len(values))]
    return Case(
        values, baselines, cuts + changes, draw(st.lists(rules(values, baselines), min_size=2, max_size=4))
    )


# --- The pure evaluator ---------------------------------------------------------------------------


def found_by_evaluator(case: Case) -> list[tuple[list[int], list[dict[str, Any]]]]:
    """For each rule the positions at which it fires and its explanations, batch by batch.

    All rules share the batch's track, as they do in a worker.
    """
    found: list[tuple[list[int], list[dict[str, Any]]]] = [([], []) for _rule in case.rules]
    for start, end in case.batches:
        before = [value for value in case.values[:start] if math.isfinite(value)]
        batch = case.values[start:end]
        lead = before[-max(map(lead_of, case.rules)) or len(before) :]
        track = Track([*lead, *filter(math.isfinite, batch)], new=len(lead), ordinal=len(before) - len(lead))
        for number, one in enumerate(case.rules):
            event_type: Any = EVENTS[one.event_type]
            facts = facts_of(one, case, start, end, track)
            verdict = event_type.decide(one.config, facts)
            found[number][0].extend(start + hit for hit in verdict.hits)
            found[number][1].extend(
                event_type.describe(one.config, facts, hit).as_json() for hit in verdict.hits
            )
    return found


def lead_of(one: Rule) -> int:
    if one.event_type == "run_metric_nonfinite":
        return 0
    event_type: Any = EVENTS[one.event_type]
    return int(event_type.reach(one.config)) + int(one.config["hold"]) - 2


def facts_of(one: Rule, case: Case, start: int, end: int, track: Track) -> Any:
    batch = case.values[start:end]
    run: dict[str, Any] = {"run_name": "", "run_user": "", "run_status": "running", "resolved": True}
    if one.event_type == "run_metric_nonfinite":
        first = first_divergence(pieces(case, end), warmup=one.config["warmup"], hold=one.config["hold"])
        return NonfiniteFacts(**run, seq=start, first=first)
    common: dict[str, Any] = {
        **run,
        "steps": list(range(start, end)),
        "timestamps": [0.0] * len(batch),
        "values": batch,
        "positions": [place for place, value in enumerate(batch) if math.isfinite(value)],
        "track": track,
    }
    if one.event_type != "run_metric_zscore":
        return MetricFacts(**common)
    if one.config["baseline"] == "values":
        return ZScoreFacts(**common, compared=())
    return ZScoreFacts(**common, compared=list(compared(one, case, start, track)))


def pieces(case: Case, upto: int) -> Iterator[Piece]:
    """The batches that hold something that is no finite number, up to the one that ends there."""
    for start, end in case.batches:
        batch = case.values[start:end]
        if end <= upto and not all(map(math.isfinite, batch)):
            yield Piece(
                start, "history", "m", Series(list(range(start, end)), [0.0] * len(batch), batch, start)
            )


def compared(one: Rule, case: Case, start: int, track: Track) -> Iterator[Compared]:
    """The other runs as of the last values before the batch, and as of the batch."""
    finite = [place for place in range(start) if math.isfinite(case.values[place])]
    lead = finite[-min(one.config["hold"] - 1, track.new) or len(finite) :]
    for end, place in enumerate([*lead, start], start=track.new - len(lead)):
        others = case.baselines[place][: one.config["window"]]
        enough = len(others) >= min(one.config["window"], MIN_RUNS)
        yield Compared(end, dict(enumerate(others)), Moments.of(others) if enough else None)


class TestTwoThousandRandomRules:
    fired: dict[str, int] = dict.fromkeys(KINDS, 0)
    rules = 0

    @hypothesis_settings(
        max_examples=800,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(case=cases())
    def test_the_evaluator_and_its_twin_agree_in_every_batching(self, case: Case) -> None:
        for one, (positions, reasons) in zip(case.rules, found_by_evaluator(case), strict=True):
            expected = twin.fires(one.event_type, one.config, case.values, case.baselines)
            assert positions == expected, one
            numbers = dict(
                twin.numbers(one.event_type, one.config, case.values, case.baselines)
                if one.event_type != "run_metric_nonfinite"
                else enumerate(case.values)
            )
            for position, reason in zip(positions, reasons, strict=True):
                assert reason["data"]["value"] == spelled(numbers[position])
                assert reason["data"]["step"] == position
                assert EVENTS[one.event_type].explain(reason) != reason["code"]
                json.dumps(reason, allow_nan=False)
            type(self).fired[one.event_type] += bool(expected)
            type(self).rules += 1

    def test_and_they_did_so_on_many_rules_that_fired(self) -> None:
        if not self.rules:
            pytest.skip("runs after the comparison")
        assert self.rules > 2000
        assert min(self.fired.values()) > 50, self.fired


EXPONENTS = [0, 5, 100, 139, 141, 153, 154, 155, 300, -5, -139, -141, -155, -161, -300]


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_an_estimated_z_score_is_as_near_as_it_says(exponent: int) -> None:
    """Squares of numbers like 1e155 overflow and those of 1e-162 vanish; far from zero digits are lost."""
    dice, sure = random.Random(exponent), 0
    for far in (0.0, 1.0, 1e6, 1e12, 1e15):
        values = [(far + dice.gauss(0, 1)) * 10.0**exponent for _value in range(60)]
        values = [value for value in values if math.isfinite(value)]
        estimates = Track(values).scores(8)
        for end in range(8, len(values)):
            exact = twin.zscore_number({"window": 8, "baseline": "values"}, values[: end + 1], ())
            estimate = estimates.numbers[end]
            if not math.isnan(estimate):
                assert abs(estimate - exact) <= SLACK * abs(estimate)
                sure += 1
    assert sure > 100 or abs(exponent) > 139, "near one most estimates are sure"


# --- Through the database -------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("number", range(20))
def test_the_database_changes_nothing(penguins: Cast, number: int) -> None:
    """Ten rules on each of twenty runs, logged in batches sent once or twice, decided now or later."""
    case = drawn(number)
    automations = [saved(penguins, one) for one in case.rules]
    run = new_run(penguins.project)
    for batch, (start, end) in enumerate(case.batches):
        for _time in range(1 + (batch + number) % 2):
            log(run, "m", map(spelled, case.values[start:end]), key=f"batch {batch}")
        if number % 3 == 0 or (number % 3 == 1 and batch % 2):
            cast.decide()
    cast.decide()
    assert run.batches.count() == len(list(case.batches))
    found = [steps(automation) for automation in automations]
    assert found == [twin.fires(one.event_type, one.config, case.values) for one in case.rules]
    assert sum(map(len, found)) > 0


def saved(who: Cast, one: Rule) -> Automation:
    assert check_event(one.event_type, one.config) == one.config
    return rule(who.project, one.event_type, one.config, period=0)


def drawn(number: int) -> Case:
    """A series of some length and ten rules on it, the same for the same number."""
    dice = random.Random(number)
    scale = dice.choice(SCALES[:7])
    values = [dice.choice([dice.gauss(0.5, 0.2), 0.5, 0.6]) * scale for _value in range(50)]
    values = [dice.choice(NONFINITE) if dice.random() < 0.06 else value for value in values]
    values = [value if math.isnan(value) else max(-1.7e308, min(value, 1.7e308)) for value in values]
    baselines: list[list[float]] = [[] for _value in values]
    cuts = sorted(dice.sample(range(1, 50), dice.choice([0, 4, 12, 30])))
    return Case(values, baselines, cuts, [any_rule(dice, values, baselines) for _rule in range(10)])


def any_rule(dice: random.Random, values: Sequence[float], baselines: Sequence[Sequence[float]]) -> Rule:
    event_type = dice.choice([*KINDS])
    options: dict[str, list[Any]] = {"warmup": [0, 0, 3], "hold": [1, 1, 2], "source": ["auto", "history"]}
    every: dict[str, dict[str, list[Any]]] = {
        "run_metric_threshold": {
            "aggregation": ["average", "min", "max", "none"],
            "window": [1, 2, 5],
            "comparison": ["above", "above_or_equal", "below", "below_or_equal", "equal", "not_equal"],
        },
        "run_metric_change": {
            "aggregation": ["average", "min", "max", "none"],
            "window": [1, 3],
            "prior_window": [1, 6],
            "change_type": ["relative", "absolute"],
            "direction": ["increase", "decrease", "any"],
        },
        "run_metric_zscore": {
            "window": [2, 5, 10], "baseline": ["values"], "direction": ["above", "below", "either"]
        },
        "run_metric_nonfinite": {},
    }  # fmt: skip
    config: dict[str, Any] = {"metric": "m", "user": None, "run_name": None}
    config |= {name: dice.choice(some) for name, some in {**options, **every[event_type]}.items()}
    if event_type == "run_metric_nonfinite":
        return Rule(event_type, config)
    seen = [abs(number) for _place, number in twin.numbers(event_type, config, values, baselines)]
    finite = [number for number in seen if 0 < number < math.inf] or [1.0]
    return Rule(event_type, {**config, "threshold": dice.choice(finite)})
