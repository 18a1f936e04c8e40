"""What the replays of many runs amount to: caught, disturbed, not evaluated."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from automations.backtests.replay import Firing, Replay
from runs.models import Run, RunStatus

_FAILED = frozenset({RunStatus.FAILED, RunStatus.CRASHED})

# Codes that say that the condition was looked at; with any other one the run was not evaluated.
_EVALUATED = frozenset({"condition_not_met", "all_finite", "status_differs", "status_same"})
_WHY: dict[str, str | Promise] = {
    "never_logged": _("the metric was never logged"),
    "only_other_source": _("the metric was logged under the other source only"),
    "window_not_full": _("too few values"),
    "no_finite_value": _("no value is a finite number"),
    "too_few_runs": _("too few other runs to compare with"),
    "no_deviation": _("the runs compared with do not differ"),
    "user_differs": _("another user’s run"),
    "run_name_differs": _("the name does not match"),
    "killed": _("the run was killed"),
    "loop": _("caused by Tripline’s own messages"),
    "never_happened": _("the status never changed"),
    "condition_not_met": _("the condition was never met"),
    "all_finite": _("every value is a finite number"),
    "status_differs": _("it never changed to such a status"),
    "status_same": _("it never changed to such a status"),
}


def why(code: str) -> str:
    """Why a rule did not fire on a run, in a few words of the active language."""
    return str(_WHY.get(code, code))


@dataclass(frozen=True, slots=True)
class Lead:
    """How long before a run's end the first firing came; steps where the metric's are known."""

    steps: int | None
    time: timedelta


def lead_of(replay: Replay) -> Lead | None:
    """None for a run that has not ended, or on which nothing fired before its end."""
    first, ended = replay.first, replay.run.finished_at
    if first is None or ended is None or first.received_at > ended:
        return None
    return Lead(_steps_before(replay, first), ended - first.received_at)


def _steps_before(replay: Replay, first: Firing) -> int | None:
    if first.step is None or replay.last_step is None:
        return None
    return max(0, replay.last_step - first.step)


@dataclass
class Summary:
    """Grows with each replay. `total` is how many runs there will be."""

    total: int
    runs: int = 0
    fired: int = 0
    firings: int = 0
    held_back: int = 0
    # Of those that failed or crashed, and of those that finished: all of them, and with a firing.
    failed: int = 0
    finished: int = 0
    disturbed: int = 0
    leads: list[Lead] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    # The most values that could be looked at in any run that had too few for the window.
    most_values: int = 0

    def add(self, replay: Replay) -> None:
        self.runs += 1
        self.fired += replay.count > 0
        self.firings += replay.count
        self.held_back += replay.held_back
        if replay.reason is not None:
            self.reasons[replay.reason.code] += 1
            if replay.reason.code == "window_not_full":
                self.most_values = max(self.most_values, replay.reason.data["have"])
        self._judge(replay.run, replay)

    def _judge(self, run: Run, replay: Replay) -> None:
        if run.status in _FAILED:
            self.failed += 1
            if lead := lead_of(replay):
                self.leads.append(lead)
        elif run.status == RunStatus.FINISHED:
            self.finished += 1
            self.disturbed += replay.count > 0

    @property
    def evaluated(self) -> int:
        """Runs in which the condition was looked at."""
        return self.fired + sum(count for code, count in self.reasons.items() if code in _EVALUATED)

    def as_json(self) -> dict[str, Any]:
        steps = [lead.steps for lead in self.leads if lead.steps is not None]
        return {
            "runs": self.runs,
            "evaluated": self.evaluated,
            "fired": self.fired,
            "firings": self.firings,
            "held_back": self.held_back,
            "failed": {
                "runs": self.failed,
                "caught": len(self.leads),
                "steps_before": _middle(steps),
                "seconds_before": _middle([lead.time.total_seconds() for lead in self.leads]),
            },
            "healthy": {"runs": self.finished, "disturbed": self.disturbed},
            "not_evaluated": [
                {"code": code, "runs": count}
                for code, count in self.reasons.most_common()
                if code not in _EVALUATED
            ],
        }


def _middle(numbers: Sequence[float]) -> float | None:
    """The median, so that one long run says little."""
    return statistics.median(numbers) if numbers else None
