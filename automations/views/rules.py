"""Lists of automations, and the page of one: what it waits for, what it did, and switching it off and on."""

from __future__ import annotations

import json
from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from automations import access, fired, overview, subjects, testfire, wording
from automations.models import Automation, Execution, Mode
from automations.services import rules
from automations.views.layout import add_url, layout_of, may
from registry.models import Registry
from registry.views.lookups import registry_or_404
from runs import clock, keyset
from runs.models import Project, Role
from runs.views.lookup import project_of

# How long one can mute a rule from its page; the admin and REST take any time.
MUTES = {
    "1": gettext_lazy("for an hour"),
    "8": gettext_lazy("for 8 hours"),
    "24": gettext_lazy("for a day"),
    "168": gettext_lazy("for a week"),
}
RECENT = 20


@require_safe
@login_required
def everything(request: HttpRequest) -> HttpResponse:
    """All automations that the person sees, the newest first."""
    return _list(request, access.automations(request.user), None)


@require_safe
@login_required
def of_project(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    place = project_of(request, team_name, project_name)
    return _list(request, overview.watching_project(request.user, place), place)


@require_safe
@login_required
def of_registry(request: HttpRequest, registry: str) -> HttpResponse:
    place = registry_or_404(request, registry)
    return _list(request, overview.watching_registry(request.user, place), place)


def _list(
    request: HttpRequest, found: QuerySet[Automation], place: Project | Registry | None
) -> HttpResponse:
    page = keyset.page(request, found)
    context = {
        **layout_of(place, request.user),
        "page": page,
        "automations": overview.rows(page.rows, request.user),
        "add": add_url(request.user, place),
        "base_url": settings.TRIPLINE_BASE_URL,
    }
    return render(request, "automations/automations.html", context)


# --- One automation -------------------------------------------------------------------------------


@require_safe
@login_required
def automation(request: HttpRequest, pk: int) -> HttpResponse:
    """The rule in one sentence, its state, and the newest of what it did."""
    found = automation_or_404(request, pk)
    mine = access.executions(request.user).filter(automation=found).order_by("-pk")
    newest = fired.read(mine[:RECENT], request.user)
    scope = found.scope
    may_write = may(access.require_scope_role, request.user, scope, Role.MEMBER)
    return render(
        request,
        "automations/automation.html",
        {
            **layout_of(scope, request.user),
            "row": overview.row(found, request.user),
            "fired": newest,
            "actions": _actions(found, request),
            "more": len(newest) == RECENT and mine[RECENT:].exists(),
            "may_write": may_write,
            "mutes": MUTES.items(),
            "kind": subjects.kind(found),
            "offered": subjects.offered(found, request.user),
        },
    )


def automation_or_404(request: HttpRequest, pk: int) -> Automation:
    return get_object_or_404(overview.with_scopes(access.automations(request.user)), pk=pk)


def _actions(automation: Automation, request: HttpRequest) -> list[tuple[str, str]]:
    """What is done, and what is said by it as it was written: templates, not values."""
    seen = overview.seen_integrations([automation], request.user)
    return [
        (
            wording.action_words(action, seen),
            json.dumps(action.config, indent=2, ensure_ascii=False) if action.config else "",
        )
        for action in automation.actions.all()
    ]


@require_POST
@login_required
def change_mode(request: HttpRequest, pk: int) -> HttpResponse:
    """Switch it on or off, let it only record, or mute it for a while."""
    found = automation_or_404(request, pk)
    access.require_scope_role(request.user, found.scope, Role.MEMBER)
    mode, hours = request.POST.get("mode", ""), request.POST.get("hours", "")
    if mode not in Mode.values or (mode == Mode.MUTED and hours not in MUTES):
        messages.error(request, _("Choose one of the modes."))
        return redirect("automation", pk=pk)
    until = clock.now() + timedelta(hours=int(hours)) if mode == Mode.MUTED else None
    rules.set_mode(found, Mode(mode), until=until)
    messages.success(request, _said(Mode(mode), str(MUTES.get(hours, ""))))
    return redirect("automation", pk=pk)


def _said(mode: Mode, how_long: str) -> str:
    return {
        Mode.ACTIVE: _("The automation is active: it sees what is accepted from now on."),
        Mode.SHADOW: _("The automation only records now; nothing is sent."),
        Mode.MUTED: _("The automation is muted %(how_long)s.") % {"how_long": how_long},
        Mode.DISABLED: _("The automation is disabled."),
    }[mode]


@require_POST
@login_required
def fire_test(request: HttpRequest, pk: int) -> HttpResponse:
    """Send its actions with an example, marked as a test."""
    found = automation_or_404(request, pk)
    access.require_scope_role(request.user, found.scope, Role.MEMBER)
    execution: Execution = testfire.fire_by_hand(found, actor=request.user)  # type: ignore[arg-type]  # signed in
    messages.success(request, _("Fired by hand, with an example. What came of it stands below."))
    return redirect("execution", pk=execution.pk)
