"""`/healthz` for whoever watches the machines, `/metrics` for Prometheus, `/status/` for people."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework.exceptions import AuthenticationFailed

from automations.health import exposition, stages, targets
from automations.health.stages import Health, State
from runs.rest.authentication import ApiKeyAuthentication


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200, or 503 when a stage stands still; no login, and nothing of anybody's in it."""
    health = stages.recent()
    status = HTTPStatus.SERVICE_UNAVAILABLE if health.state == State.RED else HTTPStatus.OK
    answer = JsonResponse(_as_json(health), status=status)
    # Or Django would, as an error, as often as somebody asks.
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer


def _as_json(health: Health) -> dict[str, Any]:
    newest = next((trip for trip in health.canaries if trip.seconds is not None), None)
    return {
        "state": health.state,
        "stages": {
            stage.key: {
                "state": stage.state,
                "age_seconds": None if stage.age is None else round(stage.age, 3),
                "sentence": stage.sentence,
            }
            for stage in health.stages
        },
        "canary_round_trip_seconds": newest and newest.seconds,
    }


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    refusal = _refusal(request)
    if refusal:
        return HttpResponse(
            f"{refusal}\n", status=HTTPStatus.FORBIDDEN, content_type="text/plain; charset=utf-8"
        )
    return HttpResponse(exposition.text(), content_type=CONTENT_TYPE_LATEST)


def _refusal(request: HttpRequest) -> str:
    """Why this client may not scrape; "" when it may."""
    token = settings.TRIPLINE_METRICS_TOKEN
    if token:
        given = request.headers.get("Authorization", "")
        if constant_time_compare(given, f"Bearer {token}"):
            return ""
        return _("Send the TRIPLINE_METRICS_TOKEN of this installation as “Authorization: Bearer …”.")
    if _is_this_machine(request) or _is_staff(request):
        return ""
    return _(
        "The metrics are for this machine, for superusers, and for API keys of staff. For a scraper "
        "elsewhere set TRIPLINE_METRICS_TOKEN."
    )


def _is_this_machine(request: HttpRequest) -> bool:
    """Where people reach the installation by another address, loopback may be a proxy that serves all."""
    home = urlsplit(settings.TRIPLINE_BASE_URL).hostname or ""
    forwarded = {"X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via"} & set(request.headers)
    return not forwarded and _is_loopback(request.META.get("REMOTE_ADDR", "")) and _is_loopback(home)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_staff(request: HttpRequest) -> bool:
    if request.user.is_superuser:
        return True
    try:
        found = ApiKeyAuthentication().authenticate(request)
    except AuthenticationFailed:
        return False
    return found is not None and found[0].is_staff


@require_safe
@never_cache
@login_required
def status(request: HttpRequest) -> HttpResponse:
    """How everything goes, and which of the person's integrations do not take messages."""
    health = stages.look()
    return render(
        request,
        "automations/status.html",
        {
            "health": health,
            "queues": [(queue, queue.age(health.at)) for queue in health.queues if health.at],
            "troubled": targets.troubled(request.user),
            "with_errors": request.user.is_superuser,
        },
    )


def mark(request: HttpRequest) -> dict[str, Any]:
    """For the link in every page's header: asked only where it is shown."""
    return {"is_stalled": lambda: stages.recent().state == State.RED}
