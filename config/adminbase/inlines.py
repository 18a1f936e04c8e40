"""Rows of another model within a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest

from config.adminbase.forms import ScopedFields, ServiceForm, refusals
from config.adminbase.theme import TabularInline
from runs.models import Role


class ServiceFormSet(BaseInlineFormSet):
    """Saves and deletes its rows by the inline's verbs, one service call a changed row."""

    inline: ClassVar[ServiceInline]
    request: ClassVar[HttpRequest]

    def save_new(self, form: Any, commit: bool = True) -> Any:
        setattr(form.instance, self.fk.name, self.instance)
        with refusals():
            self.inline.write(self.request, form.instance, form)
        return form.instance

    def save_existing(self, form: Any, obj: Any, commit: bool = True) -> Any:
        with refusals():
            self.inline.write(self.request, form.instance, form)
        return form.instance

    def delete_existing(self, obj: Any, commit: bool = True) -> None:
        with refusals():
            self.inline.remove(self.request, obj)


class _Inline(ScopedFields, TabularInline):
    extra = 0
    select_related: Sequence[str] = []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.select_related) if self.select_related else rows

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


class ReadOnlyInline(_Inline):
    can_delete = False
    max_num = 0
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ServiceInline(_Inline):
    """Rows that services write; `write_role` counts where the page's own row is held."""

    form = ServiceForm
    formset: type[BaseInlineFormSet] = ServiceFormSet
    write_role: Role = Role.MEMBER
    # Whether a row changes, or is only added and taken away.
    can_change = True

    def _may(self, request: HttpRequest, parent: Any) -> bool:
        page = self.admin_site.get_model_admin(self.parent_model)
        if request.user.is_superuser:
            return True
        if parent is None:
            return bool(page.has_role_somewhere(request, self.write_role))
        return bool(page.has_role(request, parent, self.write_role))

    def has_add_permission(self, request: HttpRequest, obj: Any) -> bool:
        return self._may(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.can_change and self._may(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        formset = super().get_formset(request, obj, **options)
        # Classes of this request alone.
        formset.inline, formset.request = self, request
        formset.form.request = request
        return formset

    def write(self, request: HttpRequest, row: Any, form: Any) -> None:
        raise NotImplementedError

    def remove(self, request: HttpRequest, row: Any) -> None:
        raise NotImplementedError
