"""Writing a rule: one screen with event, scope, condition and actions, for a new one and for one that is."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from automations import access, overview
from automations.models import Automation
from automations.ruleforms import shown, starts
from automations.ruleforms.commands import SAVE, edited
from automations.ruleforms.rule import RuleForm, Start
from automations.views import preview
from automations.views.layout import layout_of
from runs.models import Role


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def new(request: HttpRequest) -> HttpResponse:
    """`?project=3` (or another scope), `?event=`, `?metric=`, `?source=`, `?preset=` say where it begins."""
    person: Any = request.user
    scope = starts.scope_of(person, request.GET)
    allowed = starts.events(scope, request.GET)
    start = starts.start(scope, request.GET, allowed)
    form = _form(request, start=start, events=allowed)
    if (saved := _saved(request, form)) is not None:
        return saved
    chosen = request.GET.get("preset")
    offered = [(preset, _query(request, preset.key)) for preset in starts.presets(allowed)]
    return _page(request, form, scope=scope, presets=offered, preset=chosen)


def _query(request: HttpRequest, preset: str) -> str:
    query = request.GET.copy()
    query.pop("event", None)
    query["preset"] = preset
    return f"?{query.urlencode()}"


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    rule = get_object_or_404(overview.with_scopes(access.automations(request.user)), pk=pk)
    access.require_scope_role(request.user, rule.scope, Role.MEMBER)
    form = _form(request, rule=rule)
    saved = _saved(request, form)
    return saved if saved is not None else _page(request, form, scope=rule.scope, rule=rule)


def _form(
    request: HttpRequest,
    *,
    rule: Automation | None = None,
    start: Start | None = None,
    events: list[str] | None = None,
) -> RuleForm:
    person: Any = request.user
    data = edited(request.POST, person) if request.method == "POST" else None
    is_saved = data is not None and data.get("do") == SAVE
    return RuleForm(person, data=data, rule=rule, start=start, events=events, checked=is_saved)


def _saved(request: HttpRequest, form: RuleForm) -> HttpResponse | None:
    """To the rule's page, once it could be saved."""
    rule = form.save() if form.is_checked else None
    if rule is None:
        return None
    messages.success(request, _("Saved. Fire a test to see what it sends."))
    return redirect("automation", pk=rule.pk)


def _page(request: HttpRequest, form: RuleForm, *, scope: Any, **context: Any) -> HttpResponse:
    page = {**layout_of(scope, request.user), **context, **shown.parts(form)}
    if "try" in request.POST:  # without scripts
        page |= preview.tried(request)
    return render(request, "automations/rule.html", page)
