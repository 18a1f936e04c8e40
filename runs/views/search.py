from __future__ import annotations

from itertools import chain

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from runs import access, places
from runs.names import NAME_LENGTH, normalized
from runs.places import Hit

# So many of each kind are shown.
LIMIT = 20


@require_safe
@login_required
def search(request: HttpRequest) -> HttpResponse:
    """Whatever of the person's has the words in its name."""
    text = normalized(request.GET.get("q", "").strip()[:NAME_LENGTH])
    hits = list(chain.from_iterable(places.SEARCH.parts(request, text))) if text else []
    return render(request, "runs/search.html", {"q": text, "hits": hits, "limit": LIMIT})


@places.SEARCH.add
def projects(request: HttpRequest, text: str) -> list[Hit]:
    found = access.projects(request.user).filter(name__icontains=text).select_related("team")
    return [
        Hit(
            _("Project"),
            project.name,
            project.team.name,
            reverse("project", args=[project.team.name, project.name]),
        )
        for project in found.order_by("-pk")[:LIMIT]
    ]


@places.SEARCH.add
def runs(request: HttpRequest, text: str) -> list[Hit]:
    visible = access.runs(request.user)
    named = visible.filter(name__icontains=text) | visible.filter(run_id=text)
    found = named.select_related("project__team").order_by("-pk")[:LIMIT]
    return [Hit(_("Run"), run.name, str(run.project), run.page) for run in found]
