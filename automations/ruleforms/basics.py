"""A rule's own fields: what it is called, whether it is on, and how often it fires."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _, gettext_lazy

from automations.models import Automation, Mode
from automations.models.rules import DAY
from runs.names import NAME_LENGTH, normalized, validate_name, validate_text

ONCE, OTHER = "run", "seconds"
HOUR, WEEK = DAY // 24, 7 * DAY

_PERIODS = [
    (str(HOUR), gettext_lazy("at most once an hour per run")),
    (str(DAY), gettext_lazy("at most once a day per run")),
    (str(WEEK), gettext_lazy("at most once a week per run")),
    (ONCE, gettext_lazy("at most once ever per run")),
    ("0", gettext_lazy("every time")),
    (OTHER, gettext_lazy("at most once in so many seconds per run")),
]


class BasicsForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=NAME_LENGTH, validators=[validate_name], strip=False
    )
    description = forms.CharField(
        label=gettext_lazy("Description"),
        required=False,
        validators=[validate_text],
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    mode = forms.ChoiceField(label=gettext_lazy("Mode"), choices=Mode.choices, initial=Mode.ACTIVE.value)

    def __init__(self, *, rule: Automation | None, **options: Any) -> None:
        """A mute has an end, and so its own button on the rule's page: here it only stays."""
        super().__init__(**options)
        is_muted = rule is not None and rule.mode == Mode.MUTED
        field: Any = self.fields["mode"]
        field.choices = [choice for choice in Mode.choices if choice[0] != Mode.MUTED or is_muted]

    def clean_name(self) -> str:
        return normalized(self.cleaned_data["name"])


class LimitForm(forms.Form):
    """How often a rule fires; artifact events are not limited (R52)."""

    period = forms.ChoiceField(label=gettext_lazy("How often"), choices=_PERIODS, initial=str(DAY))
    seconds = forms.IntegerField(label=gettext_lazy("Seconds"), required=False)
    per_status = forms.BooleanField(label=gettext_lazy("Count each status alone"), required=False)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = self.cleaned_data
        if cleaned.get("period") == OTHER and cleaned.get("seconds") is None and "seconds" not in self.errors:
            self.add_error("seconds", ValidationError(_("Say how many seconds.")))
        return cleaned

    @property
    def chosen(self) -> int | None:
        """As a rule has it: null is once ever."""
        period = self.cleaned_data["period"]
        if period == ONCE:
            return None
        return int(self.cleaned_data["seconds"] if period == OTHER else period)


def shown_period(period: int | None) -> dict[str, Any]:
    """A rule's period, as the form has it."""
    if period is None:
        return {"period": ONCE}
    known = str(period) in dict(_PERIODS)
    return {"period": str(period)} if known else {"period": OTHER, "seconds": period}
