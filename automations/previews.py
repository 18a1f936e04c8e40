"""What a page says of a rule that is being tried on stored runs: in sentences, run by run, and drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _, ngettext

from automations import drawings
from automations.backtests import jobs
from automations.backtests.summary import why
from automations.drawings import Drawing
from automations.health.words import spoken
from automations.models import Automation, Backtest, BacktestState
from automations.models.backtests import UNFINISHED
from runs.models import Run

# The days that one can look back, and those one begins with.
SPANS, DAYS = (7, 30, 90), 30
# Runs that are listed with a firing, and without one.
FIRED_LISTED, OTHERS_LISTED = 20, 5


@dataclass(frozen=True, slots=True)
class Tried:
    """One run; `text` says where it would have fired first, or why not."""

    run: Run
    text: str
    more: int = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """How far it is, and what is known so far; `drawn` is the run in the picture."""

    job: Backtest
    told: Mapping[str, Any]
    fired: Sequence[Tried]
    others: Sequence[Tried]
    drawn: int | None
    drawing: Drawing | None

    @property
    def is_moving(self) -> bool:
        return self.job.state in UNFINISHED

    @property
    def is_cut_short(self) -> bool:
        return self.job.state in {BacktestState.CANCELLED, BacktestState.FAILED}

    @property
    def unlisted(self) -> int:
        """Runs with a firing that are not in the list."""
        return int(self.told["summary"]["fired"]) - len(self.fired)

    @property
    def headline(self) -> str:
        summary = self.told["summary"]
        days = max(1, round((self.job.created_at - _since(self.job)).total_seconds() / 86_400))
        sentence = ngettext(
            "It would have fired on %(fired)s of %(count)s run in the last %(days)s days.",
            "It would have fired on %(fired)s of %(count)s runs in the last %(days)s days.",
            summary["runs"],
        )
        return sentence % {"fired": summary["fired"], "count": summary["runs"], "days": days}

    @property
    def sentences(self) -> list[str]:
        """What it would have been good for, and at what price."""
        summary = self.told["summary"]
        if not summary["runs"]:
            return []
        told = [_caught(summary["failed"]), _disturbed(summary["healthy"])]
        return [*filter(None, told), *_left_out(summary)]


def preview(job: Backtest, *, drawn: int | None = None, draws: bool = True) -> Preview:
    """`drawn`: the run that is drawn; by default the first on which it would have fired."""
    told = jobs.told(job)
    fired = [one for one in told["runs"] if one["count"]][:FIRED_LISTED]
    others = [one for one in told["runs"] if not one["count"]][:OTHERS_LISTED]
    listed = {one["run"] for one in [*fired, *others]}
    runs = {run.pk: run for run in Run.objects.filter(pk__in=listed).select_related("project__team")}
    known = {one["run"]: one for one in job.result["runs"] if one["run"] in runs}
    if drawn not in known:
        drawn = next((one["run"] for one in [*fired, *others] if one["run"] in known), None)
    drawing = _drawing(job, runs[drawn], known[drawn]) if drawn is not None and draws else None
    return Preview(
        job,
        told,
        [_fired(runs[one["run"]], one) for one in fired if one["run"] in runs],
        [Tried(runs[one["run"]], one["reason"]["text"]) for one in others if one["run"] in runs],
        drawn,
        drawing,
    )


def _since(job: Backtest) -> datetime:
    return datetime.fromisoformat(job.draft["since"])


def _fired(run: Run, told: Mapping[str, Any]) -> Tried:
    return Tried(run, told["firings"][0]["text"], told["count"] - 1)


def _drawing(job: Backtest, run: Run, found: Mapping[str, Any]) -> Drawing | None:
    rule = Automation(event_type=job.draft["event_type"], config=job.draft["config"])
    firings = [one["reason"]["data"] for one in found["firings"]]
    return drawings.of_firings(rule, run, firings)


# --- Sentences ------------------------------------------------------------------------------------


def _caught(failed: Mapping[str, Any]) -> str:
    if not failed["runs"]:
        return _("None of them failed or crashed.")
    data = {"count": failed["runs"], "caught": failed["caught"], "steps": "", "time": ""}
    if not failed["caught"]:
        sentence = ngettext(
            "It would not have caught the %(count)s run that failed or crashed.",
            "It would have caught none of the %(count)s runs that failed or crashed.",
            failed["runs"],
        )
    elif failed["steps_before"] is None:
        sentence = ngettext(
            "It would have caught %(caught)s of %(count)s failed or crashed run, %(time)s before its end.",
            "It would have caught %(caught)s of %(count)s failed or crashed runs, typically %(time)s before "
            "their end.",
            failed["runs"],
        )
    else:
        sentence = ngettext(
            "It would have caught %(caught)s of %(count)s failed or crashed run, %(steps)s steps (%(time)s) "
            "before its end.",
            "It would have caught %(caught)s of %(count)s failed or crashed runs, typically %(steps)s steps "
            "(%(time)s) before their end.",
            failed["runs"],
        )
        data["steps"] = f"{failed['steps_before']:.12g}"
    if failed["seconds_before"] is not None:
        data["time"] = spoken(failed["seconds_before"])
    return sentence % data


def _disturbed(healthy: Mapping[str, Any]) -> str:
    sentence = ngettext(
        "It would have disturbed %(disturbed)s of %(count)s run that finished well.",
        "It would have disturbed %(disturbed)s of %(count)s runs that finished well.",
        healthy["runs"],
    )
    return sentence % {"count": healthy["runs"], "disturbed": healthy["disturbed"]} if healthy["runs"] else ""


def _left_out(summary: Mapping[str, Any]) -> Iterator[str]:
    if held_back := summary["held_back"]:
        sentence = ngettext(
            "%(count)s more match would have been held back, as it fires only so often per run.",
            "%(count)s more matches would have been held back, as it fires only so often per run.",
            held_back,
        )
        yield sentence % {"count": held_back}
    for one in summary["not_evaluated"]:
        sentence = ngettext(
            "%(count)s run could not be judged: %(why)s.",
            "%(count)s runs could not be judged: %(why)s.",
            one["runs"],
        )
        yield sentence % {"count": one["runs"], "why": why(one["code"])}
