"""The actions of a rule: for each row the type, the integration, and the type's own fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils.translation import gettext as _, gettext_lazy

from automations.access import Scope
from automations.actions.base import ACTIONS
from automations.models import Action, Integration
from automations.ruleforms.targets import Targets
from automations.ruleforms.typed import Data, Typed, errors_of
from automations.services import rules
from automations.services.rules import ActionDraft
from runs import access as runs_access, keyset
from runs.access import Person
from runs.models import Role

# As many as REST takes.
ROWS_MAX = 20
# The hidden field of every row; its values are the rows' names, in order.
ROWS = "action"


class IntegrationField(forms.ChoiceField):
    """The choices are some of those that the person may send to; each of them is accepted."""

    targets: Targets

    def clean(self, value: Any) -> Integration | None:
        if value in self.empty_values:
            self.validate(value)
            return None
        found = self.targets.get(keyset.number(str(value)))
        if found is None:
            raise ValidationError(self.error_messages["invalid_choice"])
        return found


class HeadForm(forms.Form):
    type = forms.ChoiceField(label=gettext_lazy("Action"))
    find = forms.CharField(label=gettext_lazy("Find"), required=False, max_length=250)
    integration = IntegrationField(label=gettext_lazy("Integration"), required=False)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        field: Any = self.fields["type"]
        field.choices = ACTIONS.choices()


class ActionRow:
    """One action. `key` names the row: its fields begin with `action-<key>-`."""

    def __init__(
        self,
        key: str,
        targets: Targets,
        *,
        data: Data | None = None,
        draft: ActionDraft | None = None,
        checked: bool = True,
    ) -> None:
        self.key, self.targets = key, targets
        self.is_long = False
        self.prefix = f"{ROWS}-{key}"
        draft = draft or ActionDraft("")
        chosen = {"type": draft.type, "integration": draft.integration.pk if draft.integration else ""}
        if data is not None:
            chosen = {name: data.get(f"{self.prefix}-{name}", "") for name in ("type", "find", "integration")}
        bound = data if checked else None
        self.head = HeadForm(data=bound, prefix=self.prefix, initial=chosen)
        self.type = str(chosen["type"])
        self.typed: Typed | None = None
        if self.type in ACTIONS:
            prefix = f"{self.prefix}-content"
            self.typed = Typed(
                ACTIONS, self.type, prefix=prefix, data=data, config=draft.config, checked=checked
            )
        self._offer(str(chosen["integration"] or ""))

    def _offer(self, chosen: str) -> None:
        """The integrations of the row's type; none at all where the type needs none."""
        if self.type not in ACTIONS or ACTIONS[self.type].integration_form is None:
            del self.head.fields["integration"], self.head.fields["find"]
            return
        field: Any = self.head.fields["integration"]
        field.targets = self.targets
        is_needed = ACTIONS[self.type].needs_integration
        empty = _("Choose…") if is_needed else _("none")
        search = str(self.head["find"].value() or "").replace("\x00", "")
        self.is_long = self.targets.is_long(self.type, search)
        choices = self.targets.choices(self.type, chosen, search)
        field.choices = [("", empty), *choices]
        if is_needed and not chosen and not search and len(choices) == 1:
            self.head.initial["integration"] = choices[0][0]
        field.required = is_needed
        refusal = _("Choose an integration of type “%(type)s”.") % {"type": self.type}
        field.error_messages |= {"invalid_choice": refusal, "required": refusal}

    @property
    def is_without_targets(self) -> bool:
        """Whether an integration is needed, and there is none to choose."""
        needed = "integration" in self.head.fields and ACTIONS[self.type].needs_integration
        known = len(self.head["integration"].field.choices) > 1 if needed else False  # type: ignore[attr-defined]
        return needed and not known and not self.is_long

    @property
    def chosen_integration(self) -> Integration | None:
        chosen = self.head["integration"].value() if "integration" in self.head.fields else ""
        return self.targets.get(keyset.number(str(chosen or "")))

    def draft(self) -> ActionDraft:
        """What was written. Raises `ValidationError` by the fields' names in the page."""
        problems: dict[str, list[str]] = {}
        config: dict[str, Any] = {}
        try:
            config = self.typed.config() if self.typed else {}
        except ValidationError as error:
            problems = error.message_dict
        problems |= errors_of(self.head)
        if problems:
            raise ValidationError(problems)
        return ActionDraft(self.type, self.head.cleaned_data.get("integration"), config)

    def check(self, scope: Scope | None, person: Person, kept: Sequence[ActionDraft]) -> ActionDraft:
        """The complete action, by `rules.check_action`; raises `ValidationError` by the fields' names.

        What a rule sends already (`kept`) may stay as it is; to send in a team's name needs a role there.
        """
        draft = self.draft()
        try:
            draft = rules.check_action(draft, scope=scope)
            if draft.integration is not None and draft not in kept:
                runs_access.require_role(person, draft.integration.team, Role.MEMBER)
        except PermissionDenied as refusal:
            raise ValidationError({self.head.add_prefix("integration"): [str(refusal)]}) from refusal
        except ValidationError as error:
            raise ValidationError(self._at_their_fields(error)) from error
        return draft

    def _at_their_fields(self, error: ValidationError) -> dict[str, list[str]]:
        """What a service says of `to` or of `integration` belongs to a field of the page."""
        placed: dict[str, list[str]] = {}
        for name, texts in error.message_dict.items():
            own = self.typed is not None and name in self.typed.form.fields
            form: forms.Form = self.typed.form if self.typed and own else self.head
            field = name if name in form.fields else "type"
            form.add_error(field, texts)
            placed.setdefault(form.add_prefix(field), []).extend(texts)
        return placed


class ActionRows:
    """All of them, in order."""

    def __init__(
        self,
        targets: Targets,
        *,
        data: Data | None = None,
        drafts: Sequence[ActionDraft] = (),
        checked: bool = True,
    ) -> None:
        self.targets = targets
        if data is None:
            self.rows = [ActionRow(str(n), targets, draft=draft) for n, draft in enumerate(drafts)]
        else:
            keys = dict.fromkeys(key for key in data.getlist(ROWS) if keyset.number(key) is not None)
            # One too many is enough to be refused.
            read = list(keys)[: ROWS_MAX + 1]
            self.rows = [ActionRow(key, targets, data=data, checked=checked) for key in read]

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= ROWS_MAX

    def check(
        self, scope: Scope | None, person: Person, kept: Sequence[ActionDraft] = ()
    ) -> list[ActionDraft]:
        """All complete; raises `ValidationError` with what is wrong with any of them."""
        drafts: list[ActionDraft] = []
        problems: dict[str, list[str]] = {}
        if len(self.rows) > ROWS_MAX:
            problems[ROWS] = [_("A rule has %(most)d actions at most.") % {"most": ROWS_MAX}]
        for row in self.rows[:ROWS_MAX]:
            try:
                drafts.append(row.check(scope, person, kept))
            except ValidationError as error:
                problems |= error.message_dict
        if problems:
            raise ValidationError(problems)
        return drafts


def drafts_of(actions: Sequence[Action]) -> list[ActionDraft]:
    return [ActionDraft(action.type, action.integration, action.config) for action in actions]
