"""The part of a path that is a team: everything but the first parts of Tripline's own pages."""

from __future__ import annotations

from django.urls import register_converter
from django.urls.converters import StringConverter

from runs.names import is_own_path


class TeamConverter(StringConverter):
    """So that no page of a team answers for `/api/v1/…` or `/admin/…`, whatever is missing there."""

    def to_python(self, value: str) -> str:
        if is_own_path(value):
            raise ValueError(value)
        return value


register_converter(TeamConverter, "team")
