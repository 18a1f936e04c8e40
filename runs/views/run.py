"""One run: its metrics as charts, what it was told, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from runs import metrics, places
from runs.api.runs import SeriesQuery
from runs.models import MetricSummary, RunStatus, Source
from runs.models.metrics import spelled
from runs.views.lookup import run_of
from runs.views.shown import number

# So many charts are on a page; one narrows them by name.
CHARTS = 300


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics whose names begin alike, up to the first slash."""

    prefix: str
    rows: Sequence[MetricSummary]


@require_safe
@never_cache
@login_required
def page(request: HttpRequest, team_name: str, project_name: str, run_id: str) -> HttpResponse:
    run = run_of(request, team_name, project_name, run_id)
    asked = request.GET.get("metrics", "").strip()
    found = MetricSummary.objects.filter(run=run).order_by("source", "name")  # history first
    rows = list(found.filter(name__icontains=asked) if asked else found)
    shown = rows[:CHARTS]
    context = {
        "run": run,
        "project": run.project,
        "tab": "runs",
        "rows": rows,
        "groups": grouped([row for row in shown if row.source == Source.HISTORY]),
        "system": [row for row in shown if row.source == Source.SYSTEM],
        "left_out": len(rows) - len(shown),
        "is_whole": not asked and len(rows) == len(shown),
        "asked": asked,
        "config": list(flat(run.config)),
    }
    return render(request, "runs/run.html", context)


def grouped(rows: Sequence[MetricSummary]) -> list[Group]:
    """Metrics without a slash come first."""
    ordered = sorted(rows, key=lambda row: (prefix(row.name), row.name))
    return [
        Group(name, list(members)) for name, members in groupby(ordered, key=lambda row: prefix(row.name))
    ]


def prefix(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def flat(config: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """What a run was configured with, a line for each value; nested keys are joined by dots."""
    if isinstance(config, dict) and (config or not path):
        for key, inner in sorted(config.items()):
            yield from flat(inner, f"{path}.{key}" if path else key)
    else:
        yield path, config if isinstance(config, str) else json.dumps(config, ensure_ascii=False)


# --- What charts ask for --------------------------------------------------------------------------


@require_safe
@never_cache
@login_required
def series(request: HttpRequest, team_name: str, project_name: str, run_id: str) -> JsonResponse:
    """One series, thinned: `?name=&source=&step_min=&step_max=&max_points=`, as in the REST interface."""
    query = SeriesQuery(data=request.GET)
    if not query.is_valid() or "name" not in query.validated_data:
        return JsonResponse(query.errors or {"name": [_("This field is required.")]}, status=400)
    asked = {"source": Source.HISTORY.value, "max_points": 1000, **query.validated_data}
    source, name = asked.pop("source"), asked.pop("name")
    run = run_of(request, team_name, project_name, run_id)
    found = metrics.series(run, source, name, **asked)
    if found is None:
        raise Http404
    summary = MetricSummary.objects.get(run=run, source=source, name=name)
    return JsonResponse(
        {
            "steps": list(found.steps),
            # A chart shows no more digits, and they are most of what is sent.
            "values": [spelled(float(f"{value:.9g}")) for value in found.values],
            "text": reading(summary),
        }
    )


def reading(row: MetricSummary) -> str:
    """The latest value, and between which they lie."""
    return _("last %(last)s · min %(min)s · max %(max)s") % {
        "last": number(row.last),
        "min": number(row.minimum),
        "max": number(row.maximum),
    }


@require_safe
@never_cache
@login_required
def live(request: HttpRequest, team_name: str, project_name: str, run_id: str) -> JsonResponse:
    """How a run stands: its status, how many values each metric has, and what to draw into the charts."""
    run = run_of(request, team_name, project_name, run_id)
    rows = MetricSummary.objects.filter(run=run).order_by()
    drawn = places.MARKS.parts(request, run)
    return JsonResponse(
        {
            "status": run.status,
            "over": RunStatus(run.status).is_over,
            "counts": {
                f"{source}/{name}": count
                for source, name, count in rows.values_list("source", "name", "count")
            },
            "marks": [asdict(mark) for part in drawn for mark in part.marks],
            "thresholds": [asdict(line) for part in drawn for line in part.thresholds],
        }
    )
