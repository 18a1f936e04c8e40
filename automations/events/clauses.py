"""Parts of the sentences that say what a rule waits for."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _, ngettext

from automations.events.base import Config


def one_of(words: Sequence[str]) -> str:
    """“Running”, “Running or Failed”, “Running, Finished or Failed”."""
    if len(words) < 2:
        return "".join(words)
    return _("%(words)s or %(last)s") % {"words": _(", ").join(words[:-1]), "last": words[-1]}


def aggregate_words(config: Config, window: int) -> str:
    """“the average of the last 5 values of loss”, or the metric alone."""
    if config["aggregation"] == "none":
        return str(config["metric"])
    sentences = {
        "average": ngettext(
            "the average of the last value of %(metric)s",
            "the average of the last %(window)s values of %(metric)s",
            window,
        ),
        "min": ngettext(
            "the minimum of the last value of %(metric)s",
            "the minimum of the last %(window)s values of %(metric)s",
            window,
        ),
        "max": ngettext(
            "the maximum of the last value of %(metric)s",
            "the maximum of the last %(window)s values of %(metric)s",
            window,
        ),
    }
    return sentences[config["aggregation"]] % {"metric": config["metric"], "window": window}


def with_options(condition: str, config: Config) -> str:
    """A metric's condition, how long it must hold, and what is ignored."""
    parts = [condition]
    hold, warmup = config["hold"], config["warmup"]
    if hold > 1:
        parts.append(
            ngettext("%(count)s value in a row", "%(count)s values in a row", hold) % {"count": hold}
        )
    if warmup:
        ignored = ngettext(
            "not counting the first value of a run",
            "not counting the first %(count)s values of a run",
            warmup,
        )
        parts.append(ignored % {"count": warmup})
    return _(", ").join(parts)
