"""The call that comes most often, metrics with a key, answered without what it does not need.

Sessions, languages, routes and the generic views cost more than storing a few values. `RunViewSet` says what
such a call means: this is only a shorter way to what it does, and every refusal is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import APIException

from runs.api import runs
from runs.rest.authentication import ApiKeyAuthentication

_METRICS = re.compile(r"/api/v1/runs/([0-9]{1,18})/metrics/?")


class ShortWay:
    """A middleware that answers metrics calls itself; what it cannot answer goes the long way, unchanged."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        found = _METRICS.fullmatch(request.path_info) if request.method == "POST" else None
        answer = _logged(request, int(found[1])) if found and not runs.is_large(request) else None
        return answer or self.get_response(request)


def _logged(request: HttpRequest, run_id: int) -> HttpResponse | None:
    """None where nothing was done, whyever."""
    request.get_host()  # refuses a foreign one
    try:
        known = ApiKeyAuthentication().authenticate(request)
        if known is None:
            return None
        key = request.META.get("HTTP_IDEMPOTENCY_KEY")
        accepted = runs.log(known[0], run_id, body=request.body, key=key)
    except (APIException, PermissionDenied, ValidationError):
        return None
    body = msgspec.json.encode(accepted)
    headers = {"Content-Type": "application/json", "Content-Length": len(body)}
    return HttpResponse(body, status=202, headers=headers)
