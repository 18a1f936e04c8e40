"""The rule's own form, which pages and admin share, as the admin knows a form."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, QueryDict

from automations.models import Automation
from automations.ruleforms import starts
from automations.ruleforms.commands import SAVE, edited
from automations.ruleforms.rule import RuleForm, Start
from automations.rulepresets import RulePreset
from config.adminbase import ServiceForm, actor

# What of a rule its form writes.
_WRITTEN = ("name", "description", "mode", "event_type", "config", "scope_key", "period", "per_status")


def draft_of(request: HttpRequest) -> QueryDict | None:
    """What was posted as the pressed button changes it, when that is not to be saved; None when it is.

    Such a button says what it does (`do`, `try`); a script that swaps the form in place says who it is.
    """
    asks = "do" in request.POST or "try" in request.POST or "HX-Request" in request.headers
    if request.method != "POST" or not asks or request.POST.get("do") == SAVE:
        return None
    return edited(request.POST, actor(request))


def start_of(request: HttpRequest) -> Start:
    """Where a link lets a new rule begin; what it names and is not there is left out."""
    allowed = starts.events(None, request.GET)
    try:
        scope = starts.scope_of(actor(request), request.GET)
    except (Http404, PermissionDenied):
        scope = None
    return starts.start(scope, request.GET, allowed)


def offered_presets(request: HttpRequest) -> list[tuple[RulePreset, str]]:
    """Each with its link, which keeps what is known of the rule."""
    return [(preset, _query(request, preset)) for preset in starts.presets(starts.events(None, request.GET))]


def _query(request: HttpRequest, preset: RulePreset) -> str:
    query = request.GET.copy()
    query.pop("event", None)
    query["preset"] = preset.key
    return f"?{query.urlencode()}"


class AutomationForm(ServiceForm):
    """Has no fields of its own: what is wrong with the rule's form is wrong with this one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rule = self.instance if self.instance.pk else None
        posted: Any = self.data if self.is_bound else vars(self.request).get("draft")
        self.rule_form = RuleForm(
            actor(self.request),
            data=posted,
            rule=rule,
            start=None if rule else start_of(self.request),
            checked=self.is_bound,
        )

    def full_clean(self) -> None:
        forms.ModelForm.full_clean(self)
        if not self.is_bound:
            return
        self.rule_form.is_valid()
        if self.refusal is not None:
            self.rule_form.add_errors(self.refusal)
        for name, texts in self.rule_form.problems.items():
            self.errors[name] = self.error_class(texts)

    def _post_clean(self) -> None:
        """The services check the rule."""

    @cached_property
    def changed_data(self) -> list[str]:
        was = self.rule_form.rule
        if not self.is_bound or self.errors or was is None:
            return []
        now = self.rule_form.automation
        changed = [name for name in _WRITTEN if getattr(now, name) != getattr(was, name)]
        return changed if self.rule_form.drafts is None else [*changed, "actions"]

    def save_rule(self) -> Automation:
        """By one call of the service; raises `ValidationError` where it refuses."""
        saved = self.rule_form.save()
        if saved is None:
            raise ValidationError(dict(self.rule_form.problems))
        return saved
