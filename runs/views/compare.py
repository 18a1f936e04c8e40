"""Several runs beside each other: their curves in the same charts, and what they were told differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs import access
from runs.models import MetricSummary, Run, Source
from runs.views.lookup import project_of
from runs.views.run import CHARTS, flat, prefix

# As many lines as one can tell apart.
AT_MOST = 10


@dataclass(frozen=True, slots=True)
class Shared:
    """A metric: which of the runs have it, as a chart is told, and the latest value of each."""

    name: str
    source: str
    lines: str
    last: Sequence[float | str | None]


@dataclass(frozen=True, slots=True)
class Setting:
    """What every run was configured with under one key; None where it was not."""

    key: str
    texts: Sequence[str | None]

    @property
    def differs(self) -> bool:
        return len(set(self.texts)) > 1


@require_safe
@login_required
def compare(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    project = project_of(request, team_name, project_name)
    asked = list(dict.fromkeys(request.GET.getlist("run")))
    visible = access.runs(request.user).filter(project=project, run_id__in=asked[:AT_MOST])
    runs = sorted(visible.select_related("user"), key=lambda run: asked.index(run.run_id))
    for run in runs:
        run.project = project  # whose page the link is to
    shared = _shared(runs)
    settings = _settings(runs)
    context = {
        "project": project,
        "tab": "runs",
        "runs": runs,
        "shared": shared,
        "groups": _grouped(shared[:CHARTS]),
        "left_out": max(0, len(shared) - CHARTS),
        "different": [row for row in settings if row.differs],
        "equal": [row for row in settings if not row.differs],
        "too_many": len(asked) > AT_MOST,
        "at_most": AT_MOST,
    }
    return render(request, "runs/compare.html", context)


def _shared(runs: Sequence[Run]) -> list[Shared]:
    """Metrics by source and name; history first, and in it those without a slash."""
    places = {run.pk: place for place, run in enumerate(runs)}
    found: dict[tuple[str, str], dict[int, MetricSummary]] = {}
    for row in MetricSummary.objects.filter(run__in=places).order_by():
        found.setdefault((row.source, row.name), {})[places[row.run_id]] = row
    ordered = sorted(found, key=lambda key: (key[0] != Source.HISTORY, prefix(key[1]), key[1]))
    return [
        Shared(
            name,
            source,
            " ".join(map(str, sorted(found[source, name]))),
            [_last(found[source, name].get(place)) for place in range(len(runs))],
        )
        for source, name in ordered
    ]


def _last(row: MetricSummary | None) -> float | str | None:
    return row.last if row else None


def _grouped(shared: Sequence[Shared]) -> dict[tuple[str, str], list[Shared]]:
    groups: dict[tuple[str, str], list[Shared]] = {}
    for row in shared:
        is_history = row.source == Source.HISTORY
        groups.setdefault((row.source, prefix(row.name) if is_history else ""), []).append(row)
    return groups


def _settings(runs: Sequence[Run]) -> list[Setting]:
    told = [dict(flat(run.config)) for run in runs]
    keys = sorted({key for config in told for key in config})
    return [Setting(key, [config.get(key) for config in told]) for key in keys]
