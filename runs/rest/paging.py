"""Order and pages of lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import filters, pagination
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request


class StableOrderingFilter(filters.OrderingFilter):
    """`?ordering=`; the id decides between equals, so that pages neither repeat nor skip."""

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> Sequence[str]:
        ordering = list(super().get_ordering(request, queryset, view) or ["id"])
        given = request.query_params.get(self.ordering_param)
        if given and not ordering[0].lstrip("-") == given.split(",")[0].strip().lstrip("-"):
            raise ValidationError({self.ordering_param: [_("One cannot order by “%s”.") % given[:80]]})
        if ordering[-1].lstrip("-") not in {"id", "pk"}:
            ordering.append("-id" if ordering[0].startswith("-") else "id")
        return ordering


class KeysetPagination(pagination.CursorPagination):
    """`next`, `previous`, `results`; each page costs the same, however far one reads."""

    page_size = 100
    max_page_size = 1000
    page_size_query_param = "page_size"
    ordering = "-id"

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("page_size")
        if given is None:
            return self.page_size
        if not given.isascii() or not given.isdecimal() or not 0 < int(given[:9]) <= self.max_page_size:
            raise ValidationError({"page_size": [_("This must be 1 to %d.") % self.max_page_size]})
        return int(given)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }
