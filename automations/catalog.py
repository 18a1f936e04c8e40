"""A registry of types by key, filled by a decorator; used for event types and for actions."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import ClassVar, Generic, Protocol, TypeVar

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _


class Entry(Protocol):
    key: ClassVar[str]
    label: ClassVar[str | Promise]


T = TypeVar("T", bound=Entry)
C = TypeVar("C", bound=type)


class Catalog(Generic[T]):
    def __init__(self, noun: str | Promise) -> None:
        self.noun = noun
        self._entries: dict[str, T] = {}

    def register(self, entry: C) -> C:
        """Class decorator. A key that is taken fails at start-up."""
        instance: T = entry()
        if instance.key in self._entries:
            raise ImproperlyConfigured(f"Two {self.noun}s have the key {instance.key!r}.")
        self._entries[instance.key] = instance
        return entry

    def __getitem__(self, key: str) -> T:
        return self._entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries.values())

    def choices(self) -> list[tuple[str, str]]:
        return [(entry.key, entry.label) for entry in self]  # type: ignore[misc]  # lazy labels are fine

    def find(self, key: object) -> T:
        """The entry, or a `ValidationError` that names the nearest known key."""
        if isinstance(key, str) and key in self._entries:
            return self._entries[key]
        near = difflib.get_close_matches(str(key), self._entries, n=1)
        hint = _(" Did you mean “%(key)s”?") % {"key": near[0]} if near else ""
        raise ValidationError(
            _("“%(key)s” is no known %(noun)s.%(hint)s")
            % {"key": str(key)[:80], "noun": self.noun, "hint": hint}
        )


def import_all(package: ModuleType) -> None:
    """Import every module of a package, so that what is in it registers itself."""
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
