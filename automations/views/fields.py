"""Pieces of the form of a rule, asked for while one writes it."""

from __future__ import annotations

import re

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from automations.actions.base import ACTIONS
from automations.events.base import EVENTS
from automations.ruleforms.rule import CONDITION
from automations.ruleforms.typed import Typed

_PREFIX = re.compile(r"[\w-]{1,100}")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def fields(request: HttpRequest) -> HttpResponse:
    """The fields of an event type (`?event=`) or an action type (`?action=`), their names under `?prefix=`.

    What was posted of them under this prefix stays, as far as it has a meaning for the type.
    """
    catalog, key = (ACTIONS, request.GET["action"]) if "action" in request.GET else (EVENTS, "")
    key = key or request.GET.get("event", "")
    prefix = request.GET.get("prefix", CONDITION)
    if key not in catalog or not _PREFIX.fullmatch(prefix):
        raise Http404
    data = request.POST if request.method == "POST" else None
    typed = Typed(catalog, key, prefix=prefix, data=data, checked=False)
    return render(request, "automations/ruleform/fields.html", {"typed": typed})
