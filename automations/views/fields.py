"""What the form of a rule answers while one writes into it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from automations import regex
from automations.forms import PatternField
from automations.ruleforms import aids, names
from automations.ruleforms.rule import CONDITION, RuleForm


def _form(request: HttpRequest, *, checked: bool = True) -> RuleForm:
    person: Any = request.user
    return RuleForm(person, data=request.POST, checked=checked)


@require_POST
@login_required
def matches(request: HttpRequest) -> HttpResponse:
    """What the pattern of `?field=` matches of the names that exist, or what RE2 says of it."""
    form, wanted = _form(request, checked=False), request.GET.get("field", "")
    typed = form.condition_form
    name = wanted.removeprefix(f"{CONDITION}-")
    if typed is None or not isinstance(typed.form.fields.get(name), PatternField):
        raise Http404
    pattern = request.POST.get(wanted, "")
    context: dict[str, Any] = {"pattern": pattern, "scope": form.scope}
    try:
        regex.validate(pattern)
    except ValidationError as error:
        return render(request, "automations/ruleform/matches.html", {"problems": error.messages})
    if pattern and form.scope is not None:
        context["found"] = names.matches(
            form.person, form.scope, event_type=form.event_type, field=name, pattern=pattern
        )
    return render(request, "automations/ruleform/matches.html", context)


@require_POST
@login_required
def advice(request: HttpRequest) -> HttpResponse:
    """What to think of, once the condition is complete."""
    try:
        told = aids.advice(_form(request).condition())
    except ValidationError:
        told = []  # what is missing is said when it is saved
    return render(request, "automations/ruleform/advice.html", {"advice": told})


@require_POST
@login_required
def example(request: HttpRequest) -> HttpResponse:
    """What the action of the row `?row=` would send, or what is wrong with its texts."""
    form = _form(request)
    row = next((row for row in form.actions.rows if row.key == request.GET.get("row")), None)
    if row is None or row.typed is None:
        raise Http404
    try:
        context: dict[str, Any] = {
            "text": aids.example(form, row),
            "empty": aids.empty_variables(form, row),
        }
    except ValidationError as error:
        context = {"problems": error.messages}
    except aids.Unready:
        context = {"unready": True}
    return render(request, "automations/ruleform/example.html", context)
