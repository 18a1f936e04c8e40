from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

_CLIENT = Path(__file__).parents[1] / "client.py"
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
