"""The fields of a chosen type: its own `config_form`, under a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.datastructures import MultiValueDict

from automations.catalog import Catalog, Entry
from automations.forms import ConfigForm

Data = MultiValueDict[str, Any]
# The hidden field beside those of a type says whose they are.
SHOWN = "shown"


class Configured(Entry, Protocol):
    """An event type or an action type."""

    @property
    def config_form(self) -> type[ConfigForm]: ...


class Typed:
    """A type of a catalog, and its form.

    Without `data` the form shows `config`. With data it is to be checked, or (`checked=False`) to be shown
    once more as it was written. Data of the fields of another type, of before the type was changed, is
    never checked: what somebody wrote into a field that both have is kept.
    """

    def __init__(
        self,
        catalog: Catalog[Any],
        key: str,
        *,
        prefix: str,
        data: Data | None = None,
        config: Mapping[str, Any] | None = None,
        checked: bool = True,
    ) -> None:
        self.entry: Configured = catalog[key]
        self.prefix = prefix
        self._was: Configured | None = self.entry
        if data is not None:
            shown = data.get(f"{prefix}-{SHOWN}", key)
            self._was = catalog[shown] if shown in catalog else None  # noqa: SIM401  (no dictionary)
        self.form = self._form(data, config or {}, checked=checked)

    def _form(self, data: Data | None, config: Mapping[str, Any], *, checked: bool) -> ConfigForm:
        form = self.entry.config_form
        if data is None:
            return form(prefix=self.prefix, initial=dict(config))
        if checked and self.is_complete:
            return form(data, prefix=self.prefix)
        return form(prefix=self.prefix, initial=self._written(data))

    @property
    def is_complete(self) -> bool:
        """Whether the data is of this type's fields."""
        return self._was is self.entry

    @property
    def shown_name(self) -> str:
        return f"{self.prefix}-{SHOWN}"

    def _written(self, data: Data) -> dict[str, Any]:
        """By field, what was written and has a meaning for this type."""
        if self._was is None:
            return {}
        was, now = (entry.config_form(prefix=self.prefix) for entry in (self._was, self.entry))
        found = {}
        for name in was.fields.keys() & now.fields.keys():
            raw = was.fields[name].widget.value_from_datadict(data, MultiValueDict(), was.add_prefix(name))
            if raw is not None and (self.is_complete or _is_meant(was.fields[name], now.fields[name], raw)):
                found[name] = raw
        return found

    def config(self) -> dict[str, Any]:
        """What was written, checked. Raises `ValidationError` by the names of the page's fields."""
        if not self.form.is_bound:
            raise ValidationError({self.shown_name: [_required()]})
        if not self.form.is_valid():
            raise ValidationError(errors_of(self.form))
        return dict(self.form.cleaned_data)


def errors_of(form: forms.Form) -> dict[str, list[str]]:
    """By the fields' names in the page; what belongs to no field, by the form's prefix."""
    return {
        form.prefix or "" if name == NON_FIELD_ERRORS else form.add_prefix(name): [
            str(text) for text in found
        ]
        for name, found in form.errors.items()
    }


def _required() -> str:
    return str(forms.Field.default_error_messages["required"])


def _is_meant(was: forms.Field, now: forms.Field, raw: Any) -> bool:
    """Whether a value of a field is kept in that of another type: it is the same, and no default."""
    return was.label == now.label and raw not in ("", []) and str(raw) != str(was.initial)
