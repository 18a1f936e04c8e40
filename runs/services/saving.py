"""Saving what a person named: one way to validate, one answer to a name that is taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _

from runs.errors import Conflict
from runs.names import normalized

M = TypeVar("M", bound=models.Model)


def save_named(instance: M, *, field: str = "name", only: Iterable[str] | None = None) -> M:
    """Validate and save. Raises `ValidationError` by field, `Conflict` when the name is taken.

    Of a row that exists `only` these fields are written, where others change without being asked.
    """
    setattr(instance, field, normalized(getattr(instance, field)))
    instance.full_clean(validate_unique=False, validate_constraints=False)
    try:
        with transaction.atomic():
            instance.save(update_fields=only if instance.pk else None)
    except IntegrityError as error:
        raise taken(instance, field=field) from error
    return instance


def taken(instance: models.Model, *, field: str = "name") -> Conflict:
    return Conflict(
        {
            field: _("A %(noun)s named “%(name)s” exists already.")
            % {"noun": instance._meta.verbose_name, "name": getattr(instance, field)}
        }
    )
