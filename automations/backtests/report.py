"""The result of a backtest as data, growing run by run, and the same in words for a reader."""

from __future__ import annotations

from typing import Any

from automations.backtests import cautions
from automations.backtests.engine import Replays
from automations.backtests.replay import Firing, Replay
from automations.backtests.summary import Summary, lead_of, why
from automations.events.base import EVENTS
from automations.verdicts import Reason

# Runs that are listed, of each kind; firings of one of them.
FIRED_LISTED, OTHERS_LISTED, FIRINGS_LISTED = 500, 200, 20

# Too long to be listed: the explanation of an execution has them.
_LEFT_OUT = frozenset({"window", "runs"})


class Report:
    def __init__(self, replays: Replays) -> None:
        self.summary = Summary(total=replays.total)
        self.warnings: list[Reason] = []
        self._replays = replays
        self._runs: list[dict[str, Any]] = []
        self._others = 0
        self._truncated = False

    def add(self, replay: Replay) -> None:
        self.summary.add(replay)
        if replay.count:
            listed = self.summary.fired <= FIRED_LISTED
        else:
            self._others += 1
            listed = self._others <= OTHERS_LISTED
        self._truncated |= not listed
        if listed:
            self._runs.append(_run(replay))

    def work(self) -> None:
        """Look at all runs; then it can be said what never happened."""
        for replay in self._replays:
            self.add(replay)
        self.warnings = cautions.cautions(self._replays, self.summary)

    def as_json(self) -> dict[str, Any]:
        """What is stored: reasons as codes and data."""
        return {
            "summary": self.summary.as_json(),
            "warnings": [reason.as_json() for reason in self.warnings],
            "runs": self._runs,
            "truncated": self._truncated,
        }


def _run(replay: Replay) -> dict[str, Any]:
    run, lead = replay.run, lead_of(replay)
    return {
        "run": run.pk,
        "run_id": run.run_id,
        "name": run.name,
        "project": run.project_id,
        "status": run.status,
        "count": replay.count,
        "held_back": replay.held_back,
        "firings": [_firing(firing) for firing in replay.firings[:FIRINGS_LISTED]],
        "reason": replay.reason.as_json() if replay.reason else None,
        "steps_before": lead.steps if lead else None,
        "seconds_before": lead.time.total_seconds() if lead else None,
    }


def _firing(firing: Firing) -> dict[str, Any]:
    data = {name: value for name, value in firing.reason.data.items() if name not in _LEFT_OUT}
    return {
        "step": firing.step,
        "value": firing.value,
        "received_at": firing.received_at.isoformat(),
        "reason": Reason(firing.reason.code, data).as_json(),
    }


def in_words(result: dict[str, Any], event_type: str) -> dict[str, Any]:
    """A stored result with sentences in the active language instead of reasons."""
    return {
        "summary": _summary(result["summary"]),
        "warnings": [
            {"code": one["code"], "text": cautions.sentence(Reason(**one))} for one in result["warnings"]
        ],
        "runs": [_told(run, event_type) for run in result["runs"]],
        "truncated": result["truncated"],
    }


def _summary(summary: dict[str, Any]) -> dict[str, Any]:
    not_evaluated = [{**one, "text": why(one["code"])} for one in summary["not_evaluated"]]
    return {**summary, "not_evaluated": not_evaluated}


def _told(run: dict[str, Any], event_type: str) -> dict[str, Any]:
    reason = run["reason"]
    firings = [
        {
            "step": one["step"],
            "value": one["value"],
            "received_at": one["received_at"],
            "text": EVENTS[event_type].explain(one["reason"]),
        }
        for one in run["firings"]
    ]
    told = {"code": reason["code"], "text": why(reason["code"])} if reason else None
    return {**run, "firings": firings, "reason": told}
