from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs import access

_CLIENT = Path(__file__).with_name("client.py")
_DEFAULT_URL = 'DEFAULT_URL = "http://127.0.0.1:8000"'


@cache
def _client_source() -> str:
    return _CLIENT.read_text(encoding="utf-8")


@require_safe
def client(request: HttpRequest) -> HttpResponse:
    """The one-file client, which talks to this installation unless it is told otherwise."""
    here = f"DEFAULT_URL = {settings.TRIPLINE_BASE_URL!r}"
    source = _client_source().replace(_DEFAULT_URL, here, 1)
    return HttpResponse(source, content_type="text/x-python; charset=utf-8")


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The person's projects and newest runs, or the snippet that makes the first."""
    newest = access.runs(request.user).select_related("project__team", "user").order_by("-pk")[:20]
    return render(
        request,
        "runs/home.html",
        {
            "runs": newest,
            "teams": access.teams(request.user).prefetch_related("projects"),
            "base_url": settings.TRIPLINE_BASE_URL,
        },
    )
