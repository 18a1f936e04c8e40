"""A whole rule as a form: event, scope, condition, actions, and the rule's own fields."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.utils.translation import gettext as _, gettext_lazy

from automations import access
from automations.access import Scope
from automations.events.base import EVENTS, types_of
from automations.models import Automation, Mode, ScopeType
from automations.models.rules import DAY
from automations.ruleforms.basics import BasicsForm, LimitForm, shown_period
from automations.ruleforms.places import PlaceForm, key_of, writable_or_none
from automations.ruleforms.sending import ROWS, ActionRows, drafts_of
from automations.ruleforms.targets import Targets
from automations.ruleforms.typed import Data, Typed, errors_of
from automations.services import rules
from automations.services.rules import ActionDraft
from registry.models import ArtifactChange
from runs.models import MetricBatch, Role, RunStatusChange, User

# The fields of the event's type begin with `condition-`.
CONDITION = "condition"


@dataclass(frozen=True, slots=True)
class Start:
    """What a form shows before anybody wrote into it."""

    event_type: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    scope: Scope | None = None
    name: str = ""
    description: str = ""
    mode: str = Mode.ACTIVE.value
    period: int | None = DAY
    per_status: bool = False
    # None: one action of the likeliest type.
    actions: Sequence[ActionDraft] | None = None

    @classmethod
    def of(cls, rule: Automation, actions: Sequence[ActionDraft]) -> Start:
        return cls(
            event_type=rule.event_type,
            config=rule.config,
            scope=rule.scope,
            name=rule.name,
            description=rule.description,
            mode=rule.mode,
            period=rule.period,
            per_status=rule.per_status,
            actions=actions,
        )


class EventForm(forms.Form):
    event = forms.ChoiceField(label=gettext_lazy("Event"))

    def __init__(self, allowed: Collection[str], **options: Any) -> None:
        super().__init__(**options)
        chosen: Any = self.fields["event"]
        chosen.choices = [("", _("Choose…")), *_grouped(allowed)]


# By what they happen to, in the order in which they are offered.
_GROUPS: list[tuple[Any, type[models.Model]]] = [
    (gettext_lazy("Artifacts"), ArtifactChange),
    (gettext_lazy("Runs"), RunStatusChange),
    (gettext_lazy("Metrics"), MetricBatch),
]


def _grouped(allowed: Collection[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    found = [
        (str(label), [(one.key, str(one.label)) for one in types_of(source) if one.key in allowed])
        for label, source in _GROUPS
    ]
    return [(label, choices) for label, choices in found if choices]


class RuleForm:
    """Every field of a rule, for one person.

    `data` is what was posted; without it `rule`, the one that is edited, or `start` is shown. `events` are
    the types that can be chosen. With `checked=False` what was posted is only shown again.

    The parts are `basics`, `event`, `place`, `limits`, `condition_form` (a `Typed`, or None without an event
    type) and `actions` (`ActionRows`). `condition()` needs only scope, event and limits; `is_valid()` asks
    for everything, and leaves the rule in `automation` and its actions in `drafts`.
    """

    automation: Automation
    drafts: list[ActionDraft] | None

    def __init__(
        self,
        person: User,
        *,
        data: Data | None = None,
        rule: Automation | None = None,
        start: Start | None = None,
        events: Iterable[str] | None = None,
        checked: bool = True,
    ) -> None:
        self.person, self.rule, self.data = person, rule, data
        self.is_checked = data is not None and checked
        self.kept = drafts_of(list(_complete(rule.actions))) if rule else []
        self.start = start or (Start.of(rule, self.kept) if rule else Start())
        allowed = set(events) if events is not None else {event_type.key for event_type in EVENTS}
        self._make_head(allowed | ({rule.event_type} if rule else set()))
        self._make_condition()
        self._make_actions()
        self.problems: dict[str, list[str]] = {}

    def _shown(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a part: its data where that is checked, else what it begins with."""
        if self.is_checked:
            return {"data": self.data}
        written = self.data if self.data is not None else {}
        return {"initial": {name: written.get(name, value) for name, value in names.items()}}

    def _make_head(self, allowed: Collection[str]) -> None:
        start = self.start
        self.event = EventForm(allowed, **self._shown({"event": start.event_type}))
        self.event_type = str(self.event["event"].value() or "")
        if self.event_type not in EVENTS or self.event_type not in allowed:
            self.event_type = ""
        kinds = EVENTS[self.event_type].scopes if self.event_type else set(ScopeType.values)
        scope = {"scope": key_of(start.scope), "find": ""}
        self.place = PlaceForm(self.person, kinds, **self._shown(scope))
        basics = {"name": start.name, "description": start.description, "mode": start.mode}
        self.basics = BasicsForm(rule=self.rule, **self._shown(basics))
        limits = {"seconds": None, **shown_period(start.period), "per_status": start.per_status}
        if self.data is not None:
            limits["per_status"] = False  # an empty box is not sent
        self.limits = LimitForm(**self._shown(limits))

    def _make_condition(self) -> None:
        self.condition_form: Typed | None = None
        if self.event_type:
            config = self.start.config if self.event_type == self.start.event_type else {}
            self.condition_form = Typed(
                EVENTS,
                self.event_type,
                prefix=CONDITION,
                data=self.data,
                config=config,
                checked=self.is_checked,
            )

    def _make_actions(self) -> None:
        self.scope = writable_or_none(self.person, str(self.place["scope"].value() or ""))
        targets = Targets(self.person, self.scope, self.kept)
        drafts = self.start.actions
        if self.data is None and drafts is None:
            drafts = [ActionDraft(targets.likely_type)]
        self.actions = ActionRows(targets, data=self.data, drafts=drafts or (), checked=self.is_checked)

    @property
    def is_limited(self) -> bool:
        """Whether the daily limit per run applies to the chosen event (R52)."""
        return bool(self.event_type) and EVENTS[self.event_type].limited

    # --- What was written -------------------------------------------------------------------------

    def condition(self) -> Automation:
        """The unsaved rule, with everything that decides when it fires, complete and checked.

        Raises `ValidationError` by the fields' names in the page.
        """
        problems: dict[str, list[str]] = {}
        for form in (self.event, self.place, *([self.limits] if self.is_limited else [])):
            problems |= errors_of(form)
        if self.condition_form is not None:
            try:
                config = self.condition_form.config()
            except ValidationError as error:
                problems |= error.message_dict
        if problems or self.condition_form is None:
            raise ValidationError(problems or {"event": [_("Choose what it waits for.")]})
        found = copy.copy(self.rule) if self.rule is not None else Automation(created_by=self.person)
        found.event_type, found.config = self.event_type, config
        self._set_limits(found)
        rules.check_automation(found, scope=self.place.cleaned_data["scope"])
        return found

    def _set_limits(self, found: Automation) -> None:
        """Of an event that is not limited, what was there stays: its fields are not shown."""
        if self.is_limited:
            found.period = self.limits.chosen
            found.per_status = self.limits.cleaned_data["per_status"]

    def is_valid(self) -> bool:
        """Whether all of it can be saved; else `problems` has every error, by the fields' names."""
        self.problems = errors_of(self.basics)
        try:
            self.automation = self.condition()
        except ValidationError as error:
            self.add_errors(error)
        try:
            self.drafts = self.actions.check(self.scope, self.person, self.kept)
        except ValidationError as error:
            self.add_errors(error)
        if self.problems:
            return False
        for name in ("name", "description", "mode"):
            setattr(self.automation, name, self.basics.cleaned_data[name])
        if self.rule is not None and self.drafts == self.kept and self.scope == self.rule.scope:
            self.drafts = None  # unchanged
        return True

    def save(self) -> Automation | None:
        """Save it by `rules.save_automation`; None where that is refused, with the reasons in place."""
        if not self.is_valid():
            return None
        try:
            access.require_scope_role(self.person, self.automation.scope, Role.MEMBER)
            return rules.save_automation(self.automation, scope=self.automation.scope, actions=self.drafts)
        except PermissionDenied as refusal:
            self.add_errors(ValidationError({"scope": [str(refusal)]}))
        except ValidationError as error:
            self.add_errors(error)
        return None

    def add_errors(self, error: ValidationError) -> None:
        """Each at its field; of a part of the page that has no such field, at the top of that part."""
        for name, texts in error.message_dict.items():
            self.problems.setdefault(name, []).extend(texts)
            for form in (self.basics, self.event, self.place, self.limits):
                if name in form.fields and name not in form.errors:
                    form.add_error(name, texts)

    @property
    def unplaced(self) -> list[str]:
        """What belongs to no field that is shown."""
        shown = {*self.basics.fields, *self.event.fields, *self.place.fields, *self.limits.fields}
        return [
            text
            for name, texts in self.problems.items()
            if name not in shown and not name.startswith((f"{CONDITION}-", f"{ROWS}-"))
            for text in texts
        ]


def _complete(actions: Any) -> Any:
    wanted = ("integration__team", "integration__access_token", "integration__signing_secret")
    return actions.select_related(*wanted).order_by("position")
