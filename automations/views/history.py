"""What automations did: the list, and the page of one execution with its messages and every try."""

from __future__ import annotations

import json
from datetime import date, timedelta, tzinfo
from itertools import groupby
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _, gettext_lazy, ngettext
from django.views.decorators.http import require_POST, require_safe

from automations import access, delivery, fired
from automations.events.base import readable
from automations.fired import Fired
from automations.models import Delivery, DeliveryState, Execution, ExecutionState
from automations.views.layout import layout_of, may, place_of
from registry.views.lookups import registry_or_404
from runs import clock, keyset
from runs.models import Role
from runs.names import NAME_LENGTH
from runs.views.lookup import project_of
from runs.zones import midnight, zone_of

# A page waits so long for a message's next try.
_SOON = timedelta(minutes=1)


class HistoryForm(forms.Form):
    """What of the history is shown; a field that cannot be read says so and filters nothing."""

    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        choices=[("", gettext_lazy("Any")), *ExecutionState.choices],
    )
    run = forms.CharField(label=gettext_lazy("Run"), required=False, max_length=NAME_LENGTH)
    first = forms.DateField(required=False, widget=forms.DateInput({"type": "date"}))
    last = forms.DateField(required=False, widget=forms.DateInput({"type": "date"}))

    def __init__(self, asked: QueryDict, *, zone: tzinfo) -> None:
        super().__init__(asked, label_suffix="")
        self.zone = zone
        self.fields["first"].label = _("From day (%(zone)s)") % {"zone": zone}
        self.fields["last"].label = _("To day (%(zone)s)") % {"zone": zone}

    def narrow(self, executions: QuerySet[Execution]) -> QuerySet[Execution]:
        self.is_valid()
        asked = self.cleaned_data
        if asked.get("state"):
            executions = executions.filter(state=asked["state"])
        if asked.get("run"):
            executions = executions.filter(Q(run__run_id=asked["run"]) | Q(run__name__icontains=asked["run"]))
        if asked.get("first"):
            executions = executions.filter(created_at__gte=midnight(asked["first"], self.zone))
        if asked.get("last") and asked["last"] < date.max:
            after = midnight(asked["last"] + timedelta(days=1), self.zone)
            executions = executions.filter(created_at__lt=after)
        return executions


@require_safe
@login_required
def everything(request: HttpRequest) -> HttpResponse:
    """All of what the person may see, of one automation with `?automation=`."""
    found = access.executions(request.user)
    context = layout_of(None, request.user)
    if (asked := request.GET.get("automation")) is not None:
        automation = get_object_or_404(access.automations(request.user), pk=keyset.number(asked) or 0)
        found = found.filter(automation=automation)
        context = {**layout_of(automation.scope, request.user), "automation": automation}
    return _list(request, found, context)


@require_safe
@login_required
def of_project(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    place = project_of(request, team_name, project_name)
    found = fired.in_project(access.executions(request.user), place)
    return _list(request, found, layout_of(place, request.user))


@require_safe
@login_required
def of_registry(request: HttpRequest, registry: str) -> HttpResponse:
    place = registry_or_404(request, registry)
    found = access.executions(request.user).filter(registry=place)
    return _list(request, found, layout_of(place, request.user))


def _list(request: HttpRequest, found: QuerySet[Execution], context: dict[str, Any]) -> HttpResponse:
    zone = zone_of(request)
    form = HistoryForm(request.GET, zone=zone)
    page = keyset.page(request, form.narrow(found))
    filtered = any(request.GET.get(name) for name in form.fields)
    days = groupby(fired.read(page.rows, request.user), key=lambda each: _day(each, zone))
    listed = [(day, list(rows)) for day, rows in days]
    context = {**context, "form": form, "page": page, "days": listed, "filtered": filtered}
    return render(request, "automations/history.html", context)


def _day(each: Fired, zone: tzinfo) -> date:
    return each.execution.created_at.astimezone(zone).date()


# --- One execution --------------------------------------------------------------------------------


@require_safe
@login_required
def execution(request: HttpRequest, pk: int) -> HttpResponse:
    """Why it fired, what it was about, and of each message what was sent and what was answered."""
    row = _execution_or_404(request, pk)
    (found,) = fired.read(Execution.objects.filter(pk=row.pk), request.user, attempts=True)
    return render(
        request,
        "automations/execution.html",
        {
            **layout_of(place_of(row), request.user),
            "each": found,
            "execution": row,
            "automation": access.automations(request.user).filter(pk=row.automation_id or 0).first(),
            "facts": facts(row),
            "numbers": numbers(row),
            "is_moving": any(is_moving(sent.delivery) for sent in found.deliveries),
            "may_redeliver": may(access.require_history_role, request.user, row, Role.MEMBER),
        },
    )


def is_moving(delivery: Delivery) -> bool:
    """Whether something may happen to it while one looks: not to what is tried again in an hour."""
    due = delivery.next_at
    return delivery.state == DeliveryState.PENDING and due is not None and due - clock.now() < _SOON


def _execution_or_404(request: HttpRequest, pk: int) -> Execution:
    linked = ("team", "registry", "run__project__team", "automation__project__team")
    return get_object_or_404(access.executions(request.user).select_related(*linked), pk=pk)


def numbers(execution: Execution) -> list[tuple[str, Any]]:
    """What the decision looked at: value, threshold, window."""
    return [(name, shown(value)) for name, value in execution.explanation.get("data", {}).items()]


def shown(value: Any) -> Any:
    """Lists and objects as JSON, floats short enough to read."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else readable(value)


def facts(execution: Execution) -> list[tuple[str, Any]]:
    """The event's data as it was, without what is empty."""
    then: dict[str, Any] = execution.snapshot.get("event", {})
    return [(name, shown(value)) for name, value in then.items() if value not in ("", None, [], {})]


@require_POST
@login_required
def redeliver(request: HttpRequest, pk: int) -> HttpResponse:
    """Send what finally failed again, under the same ids."""
    row = _execution_or_404(request, pk)
    access.require_history_role(request.user, row, Role.MEMBER)
    count = delivery.requeue(row.deliveries.all())
    if count:
        text = ngettext("%(count)d message is sent again.", "%(count)d messages are sent again.", count)
        messages.success(request, text % {"count": count})
    else:
        messages.info(request, _("Nothing has finally failed, so nothing is sent again."))
    return redirect("execution", pk=pk)
