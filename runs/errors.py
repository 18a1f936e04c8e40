from __future__ import annotations

from django.core.exceptions import ValidationError


class Conflict(ValidationError):  # noqa: N818  (a name, not an accident)
    """What is asked for collides with what exists: a duplicate name, a deleted run (REST: 409).

    Always built with a dictionary, so that the field is named.
    """
