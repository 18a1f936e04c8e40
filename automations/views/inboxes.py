from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from automations import access, throttle
from automations.fired import readable
from automations.models import Inbox, InboxRequest
from automations.services import targets
from runs import access as runs_access, keyset
from runs.models import Role

INBOX_MAX_BODY = 256 * 1024
# What a header of this kind holds is a credential, of the sender's or of ours.
_HIDDEN_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


@csrf_exempt
@require_POST
def receive(request: HttpRequest, token: str) -> JsonResponse:
    """What an inbox's URL answers: 200 for whatever it kept, 413 and 429 for what it did not."""
    inbox = get_object_or_404(Inbox, token=token)
    if int(request.META.get("CONTENT_LENGTH") or 0) > INBOX_MAX_BODY:
        return JsonResponse({"detail": _("An inbox keeps bodies up to 256 kB.")}, status=413)
    wait = throttle.seconds_to_wait(f"inbox:{inbox.pk}", limit=settings.TRIPLINE_INBOX_RATE)
    if wait:
        answer = JsonResponse({"detail": _("Too many requests; try again in a moment.")}, status=429)
        answer["Retry-After"] = str(wait)
        return answer
    targets.receive(inbox, headers=_headers(request), body=request.body)
    return JsonResponse({"received": True})


def _headers(request: HttpRequest) -> dict[str, str]:
    return {
        name: "[hidden]" if name.lower() in _HIDDEN_HEADERS else value.replace("\x00", "")
        for name, value in request.headers.items()
    }


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def inboxes(request: HttpRequest) -> HttpResponse:
    """The inboxes of the person's teams; a member makes one here."""
    writable = runs_access.teams(request.user, at_least=Role.MEMBER)
    if request.method == "POST":
        team = get_object_or_404(writable, pk=keyset.number(request.POST.get("team")) or 0)
        try:
            made = targets.save_inbox(Inbox(team=team, name=request.POST.get("name", "")))
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            return redirect("inbox", pk=made.pk)
    kept = InboxRequest.objects.filter(inbox=OuterRef("pk")).order_by("-pk")
    found = access.inboxes(request.user).select_related("team")
    found = found.annotate(newest=Subquery(kept.values("received_at")[:1]), kept=Count("requests"))
    return render(request, "automations/inboxes.html", {"inboxes": found, "teams": writable})


@require_safe
@login_required
def inbox(request: HttpRequest, pk: int) -> HttpResponse:
    """What came into one inbox, newest first."""
    found = get_object_or_404(access.inboxes(request.user).select_related("team"), pk=pk)
    rows = list(found.requests.all())
    return render(
        request,
        "automations/inbox.html",
        {"inbox": found, "requests": [(row, readable(row.body)) for row in rows]},
    )
