"""What a rule watches, chosen among what the person may write to."""

from __future__ import annotations

import operator
from collections.abc import Collection as Keys
from functools import reduce
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _, gettext_lazy

from automations import access
from automations.access import Scope
from automations.models import ScopeType
from runs import keyset
from runs.access import Person

# So many of a kind are offered; more are found by a part of their name.
OFFERED = 50

_SEARCHED = {
    ScopeType.PROJECT: ("name", "team__name"),
    ScopeType.REGISTRY: ("name",),
    ScopeType.COLLECTION: ("name", "project__name", "registry__name"),
    ScopeType.TEAM: ("name",),
    ScopeType.ORGANIZATION: ("name",),
}
# What their names are made of.
_NAMED = {
    ScopeType.PROJECT: ("team__organization",),
    ScopeType.REGISTRY: ("organization",),
    ScopeType.COLLECTION: ("project__team__organization", "registry__organization"),
    ScopeType.TEAM: ("organization",),
    ScopeType.ORGANIZATION: (),
}


def key_of(scope: Scope | None) -> str:
    """“project:3”, as a choice and as in `Automation.scope_key`."""
    return f"{scope._meta.model_name}:{scope.pk}" if scope is not None else ""


def writable_or_none(person: Person, key: str) -> Scope | None:
    """What a choice names, if the person may make rules there."""
    kind, _colon, pk = key.partition(":")
    number = keyset.number(pk)
    if kind not in ScopeType.values or number is None:
        return None
    return _named(access.writable_scopes(person, ScopeType(kind)), ScopeType(kind)).filter(pk=number).first()


def _named(scopes: QuerySet[Scope], kind: ScopeType) -> QuerySet[Scope]:
    return scopes.select_related(*_NAMED[kind])


class ScopeField(forms.ChoiceField):
    """A scope. The choices are some of those that are accepted: which are is asked of the database."""

    def __init__(self, person: Person, kinds: Keys[str], **options: Any) -> None:
        super().__init__(**options)
        self.person, self.kinds = person, kinds

    def clean(self, value: Any) -> Scope:
        scope = writable_or_none(self.person, str(value or ""))
        if scope is None:
            raise ValidationError(_("Choose what the automation watches."))
        return scope

    def offer(self, chosen: str, search: str) -> bool:
        """Fill the choices: by what is searched for, and what is chosen; returns whether there are more."""
        choices: list[Any] = [("", _("Choose…"))]
        more = False
        for kind in (kind for kind in ScopeType if kind in self.kinds):
            found = list(self._found(kind, search)[: OFFERED + 1])
            more = more or len(found) > OFFERED
            options = [(key_of(scope), str(scope)) for scope in found[:OFFERED]]
            if chosen.startswith(f"{kind}:") and chosen not in dict(options):
                kept = writable_or_none(self.person, chosen)
                options[:0] = [(chosen, str(kept))] if kept else []
            if options:
                choices.append((str(kind.label), options))
        self.choices = choices
        return more

    def _found(self, kind: ScopeType, search: str) -> QuerySet[Scope]:
        found = _named(access.writable_scopes(self.person, kind), kind)
        if search:
            parts = [Q(**{f"{name}__icontains": search}) for name in _SEARCHED[kind]]
            found = found.filter(reduce(operator.or_, parts))
        return found.order_by("-pk")


class PlaceForm(forms.Form):
    """`kinds`: of which scope types. `is_long`: not everything is offered, so one may search."""

    find = forms.CharField(label=gettext_lazy("Find"), required=False, max_length=250)

    def __init__(self, person: Person, kinds: Keys[str], **options: Any) -> None:
        super().__init__(**options)
        self.fields["scope"] = field = ScopeField(person, kinds, label=_("Scope"))
        chosen, search = (str(self[name].value() or "") for name in ("scope", "find"))
        more = field.offer(chosen, search.replace("\x00", ""))
        self.is_long = more or bool(search)
