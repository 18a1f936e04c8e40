from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ValidationError


class Conflict(ValidationError):  # noqa: N818  (a name, not an accident)
    """What is asked for collides with what exists: a duplicate name, a deleted run (REST: 409).

    Always built with a dictionary, so that the field is named.
    """


@contextmanager
def named(field: str) -> Iterator[None]:
    """A `ValidationError` raised in the block is said of this field."""
    try:
        yield
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error
