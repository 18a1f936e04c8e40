"""The runs of a project: found, compared, deleted and brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _, ngettext
from django.views.decorators.http import require_http_methods, require_safe
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from runs import access, clock, places, sparkline
from runs.filtersets import RunFilterSet
from runs.glimpses import Glimpse, common_names, glimpses
from runs.models import MetricSummary, Project, Role, Run, RunStatus, Source
from runs.places import Tab
from runs.rest.paging import KeysetPagination, StableOrderingFilter
from runs.services import runs as services
from runs.views.lookup import project_of
from runs.views.ranking import SHOWN, RankedPages, Ranking, value_of
from runs.zones import zone_of

# How many metrics are shown where none was chosen, and how many can be.
METRICS_SHOWN = 3
METRICS_AT_MOST = 12
# How many names are offered to choose from.
METRICS_OFFERED = 200
# How many runs one order deletes or brings back.
BULK = 1000


@places.PROJECT_TABS.add
def tab(request: HttpRequest, project: Project) -> Tab:
    return Tab("runs", _("Runs"), reverse("project", args=[project.team.name, project.name]))


class TableFilterSet(RunFilterSet):
    KNOWN = RunFilterSet.KNOWN | {"metric", "value"}
    project = None  # type: ignore[assignment]  # it is the path that says which

    class Meta:
        model = Run
        fields = ["status", "user", "name", "created_after", "created_before"]


class Pages(KeysetPagination):
    page_size = 50
    max_page_size = 200


class Order(StableOrderingFilter):
    """Asked as a view would be, which it is told about by these two."""

    ordering_fields = ("id", "created_at", "name", "status")
    ordering = ("-id",)


@dataclass(frozen=True, slots=True)
class Cell:
    """A metric of a run: one of its values, and the way there."""

    name: str
    value: float | str | None
    line: str


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[Run]
    next: str = ""
    previous: str = ""
    trouble: Sequence[str] = ()


@require_safe
@login_required
def runs(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    project = project_of(request, team_name, project_name)
    page = _page(request, project)
    offered = common_names([run.pk for run in page.rows])[:METRICS_OFFERED]
    chosen = [name for name in request.GET.getlist("metric") if name][:METRICS_AT_MOST]
    ranking = _ranking(request.GET)
    sorted_by = [ranking.metric] if ranking else []
    names = chosen if "metric" in request.GET else list(dict.fromkeys([*sorted_by, *offered]))[:METRICS_SHOWN]
    of = _shown(request.GET)
    cells = _cells(page.rows, names, of=of)
    context = {
        "project": project,
        "tab": "runs",
        "page": page,
        "rows": [(run, cells[run.pk]) for run in page.rows],
        "names": names,
        "offered": list(dict.fromkeys([*names, *offered])),
        "columns": _columns(request.GET),
        "metric_columns": [
            _column(request.GET, Ranking.term(name), name, current=_ordering(request.GET)) for name in names
        ],
        "of": of,
        "kinds": SHOWN.items(),
        "statuses": RunStatus.choices,
        "asked": request.GET,
        "narrowed": any(request.GET.get(name) for name in TableFilterSet.base_filters),
        "may_delete": access.has_role(request.user, project.team, Role.MEMBER),
        "now": clock.now(),
        "base_url": settings.TRIPLINE_BASE_URL,
    }
    return render(request, "runs/table.html", context, status=400 if page.trouble else 200)


def _page(request: HttpRequest, project: Project) -> Page:
    """The rows that were asked for; with a sentence for everything in the question that makes no sense."""
    asked = Request(request)
    ranking = _ranking(request.GET)
    pages = RankedPages(ranking) if ranking else Pages()
    there = Run.objects.filter(project=project, deleted_at__isnull=True)
    everything = there.select_related("user", "lane").defer("config")
    try:
        with timezone.override(zone_of(request)):  # a day without a time is the reader's
            found = TableFilterSet(request.GET, queryset=everything, request=request)
            if not found.is_valid():
                raise ValidationError(found.errors)
        ordered = found.qs if ranking else Order().filter_queryset(asked, found.qs, cast(Any, Order))
        rows = pages.paginate_queryset(ordered, asked)
    except ValidationError as refusal:
        return Page([], trouble=_sentences(refusal.detail))
    for run in rows:
        run.project = project  # whose page the link is to
    return Page(rows, next=_within(pages.get_next_link()), previous=_within(pages.get_previous_link()))


def _sentences(detail: Any) -> list[str]:
    found = detail if isinstance(detail, Mapping) else {"": detail}
    return [f"{name}: {text}".removeprefix(": ") for name, texts in found.items() for text in texts]


def _within(link: str | None) -> str:
    return f"?{urlsplit(link).query}" if link else ""


def _shown(asked: QueryDict) -> str:
    """Which value of each metric: the last one, unless it is asked for another."""
    return of if (of := asked.get("value", "")) in SHOWN else "last"


def _ranking(asked: QueryDict) -> Ranking | None:
    return Ranking.asked(_ordering(asked), _shown(asked))


def _cells(rows: Sequence[Run], names: Sequence[str], *, of: str) -> dict[int, list[Cell]]:
    """Every run's metrics in the order of `names`."""
    ids = [run.pk for run in rows]
    seen = glimpses(ids, names)
    summaries = MetricSummary.objects.filter(run__in=ids, source=Source.HISTORY, name__in=names)
    values = {(row.run_id, row.name): value_of(row, of) for row in summaries} if names else {}
    return {
        pk: [Cell(name, values.get((pk, name)), _line(seen.get((pk, name)))) for name in names] for pk in ids
    }


def _line(glimpse: Glimpse | None) -> str:
    return sparkline.path(glimpse.positions, glimpse.values) if glimpse else ""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading by which one sorts. `state` is what `aria-sort` says."""

    label: str
    link: str
    state: str


def _ordering(asked: QueryDict) -> str:
    return asked.get("ordering") or "-id"


def _columns(asked: QueryDict) -> list[Column]:
    current = _ordering(asked)
    labels = {"name": _("Run"), "status": _("Status"), "": _("By"), "id": _("Created")}
    return [_column(asked, name, label, current=current) for name, label in labels.items()]


def _column(asked: QueryDict, name: str, label: str, *, current: str) -> Column:
    if not name:
        return Column(label, "", "")
    state = {name: "ascending", f"-{name}": "descending"}.get(current, "")
    turned = asked.copy()
    turned.pop("cursor", None)
    # The newest first, and names from A on.
    first, second = (f"-{name}", name) if name == "id" else (name, f"-{name}")
    turned["ordering"] = second if current == first else first
    return Column(label, f"?{turned.urlencode()}", state)


# --- Deleting and bringing back -------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def delete(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    """Asks whether these runs shall go; told so, hides them."""
    project = project_of(request, team_name, project_name)
    access.require_role(request.user, project.team, Role.MEMBER)
    found = _named(request, project).filter(deleted_at__isnull=True)
    if request.method != "POST":
        return render(request, "runs/delete.html", {"project": project, "tab": "runs", "runs": found})
    with transaction.atomic():
        gone = list(found)
        for run in gone:
            services.delete_run(run)
    text = ngettext(
        "%(count)d run is deleted. It can be restored here.",
        "%(count)d runs are deleted. They can be restored here.",
        len(gone),
    )
    messages.success(request, text % {"count": len(gone)})
    return redirect("deleted-runs", team_name=project.team.name, project_name=project.name)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def deleted(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    """What was deleted, the latest first; told so, brings back what was chosen."""
    project = project_of(request, team_name, project_name)
    access.require_role(request.user, project.team, Role.MEMBER)
    if request.method != "POST":
        gone = Run.objects.filter(project=project, deleted_at__isnull=False).select_related("user")
        rows = gone.order_by("-deleted_at", "-pk")[:BULK]
        return render(request, "runs/deleted.html", {"project": project, "tab": "runs", "runs": rows})
    with transaction.atomic():
        back = list(_named(request, project).filter(deleted_at__isnull=False))
        for run in back:
            services.restore_run(run)
    text = ngettext("%(count)d run is back.", "%(count)d runs are back.", len(back))
    messages.success(request, text % {"count": len(back)})
    return redirect("project", team_name=project.team.name, project_name=project.name)


def _named(request: HttpRequest, project: Project) -> QuerySet[Run]:
    given = request.POST if request.method == "POST" else request.GET
    runs_of = Run.objects.filter(project=project, run_id__in=given.getlist("run")[:BULK])
    return runs_of.select_related("user").order_by("-pk")
