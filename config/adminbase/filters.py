"""What narrows a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _, gettext_lazy

# So many choices a filter in the margin offers; beyond, one searches.
FILTER_CHOICES = 200


class VisibleFilter(admin.RelatedFieldListFilter):
    """By what a foreign key points to; offers only what the person sees."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        related = model_admin.admin_site.get_model_admin(field.remote_field.model)
        return [(str(row.pk), str(row)) for row in related.choices(request)[:FILTER_CHOICES]]


class DeletedFilter(admin.SimpleListFilter):
    """What is there, unless one asks for what was deleted."""

    title = gettext_lazy("deleted")
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("Deleted")), ("any", gettext_lazy("All"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        shown = super().choices(changelist)
        yield {**next(shown), "display": _("Not deleted")}
        yield from shown

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "any":
            return queryset
        return queryset.filter(deleted_at__isnull=self.value() != "yes")
