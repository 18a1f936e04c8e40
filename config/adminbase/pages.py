"""The pages of one model: who sees what, who may do what, and that services do it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import NestedObjects
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from config.adminbase.forms import ScopedFields, ServiceForm, is_id, refusals
from config.adminbase.theme import ModelAdmin
from runs import access
from runs.models import Member, Role, User


def team_roles(request: HttpRequest) -> dict[int, Role]:
    """The person's role by team id, read once per request."""
    known: dict[int, Role] | None = vars(request).get("team_roles")
    if known is None:
        rows = Member.objects.filter(user=request.user.pk).values_list("team", "role")
        known = vars(request)["team_roles"] = {team: Role(role) for team, role in rows}
    return known


def actor(request: HttpRequest) -> User:
    """Who does it: nobody else than a user gets past the admin's login."""
    return cast(User, request.user)


def follow(obj: Any, path: str) -> Any:
    """The value at the end of a path such as `run__project`; the object itself for ""."""
    for name in path.split("__") if path else ():
        obj = getattr(obj, name)
    return obj


class ScopedAdmin(ScopedFields, ModelAdmin):
    """Base of every model's admin: who sees what, who may do what, and that services do it.

    Staff see what their teams and registries hold, and need none of Django's permissions: `write_role`
    is the role that changing a row takes in the team (or registry) that holds it. Without a
    `write_role` a model is read only, for superusers too. Superusers see everything and hold every role.

    A subclass says in `write` and `remove` which service does it. They run in one transaction with what
    the inlines do; when they refuse, nothing is written and the form or the list shows why.
    """

    form = ServiceForm
    ordering = ["-pk"]
    list_select_related: Sequence[str] = []
    # The path to the team that holds a row.
    team_path: str = "team"
    write_role: Role | None = None
    superusers_only = False
    can_add = can_change = can_delete = True
    # What is chosen when a row is added, and then stays.
    fixed_fields: Sequence[str] = []
    # Deleting hides the row, so nothing else goes with it.
    soft_delete = False

    def visible(self, user: Any) -> QuerySet[Any]:
        """Every row that `user` sees, deleted ones included."""
        rows: QuerySet[Any] = self.model._default_manager.all()
        if user.is_superuser:
            return rows
        return rows.filter(**{f"{self.team_path}__in": access.teams(user).values("pk")})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = self.visible(request.user).order_by(*self.get_ordering(request))
        return rows.select_related(*self.list_select_related) if self.list_select_related else rows

    def choices(self, request: HttpRequest) -> QuerySet[Any]:
        """What a foreign key to this model and a filter by it may offer."""
        return self.get_queryset(request)

    # Permissions

    def has_role(self, request: HttpRequest, obj: Any, role: Role) -> bool:
        """Whether the person has the role where `obj` is held."""
        holder, _sep, field = self.team_path.rpartition("__")
        team_id = getattr(follow(obj, holder), f"{field}_id")
        return request.user.is_superuser or team_roles(request).get(team_id) in role.and_above

    def has_role_somewhere(self, request: HttpRequest, role: Role) -> bool:
        return any(held in role.and_above for held in team_roles(request).values())

    def may_write(self, request: HttpRequest, obj: Any = None) -> bool:
        if self.write_role is None or request.user.is_superuser:
            return self.write_role is not None
        if self.superusers_only:
            return False
        if obj is None:
            return self.has_role_somewhere(request, self.write_role)
        return self.has_role(request, obj, self.write_role)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.can_add and self.may_write(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # What is deleted is restored first.
        deleted = getattr(obj, "deleted_at", None) is not None
        return self.can_change and not deleted and self.may_write(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.can_delete and self.may_write(request, obj)

    def require_write(self, request: HttpRequest, rows: Iterable[Any]) -> None:
        for row in rows:
            if not self.may_write(request, row):
                raise PermissionDenied(_("Your role does not allow this for %(row)s.") % {"row": row})

    def writable(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """The rows that a bulk action was asked to change. Raises `ValidationError` for one too many."""
        rows = list(queryset)
        with refusals():
            self.require_write(request, rows)
        return rows

    # Form

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*super().get_readonly_fields(request, obj), *(self.fixed_fields if obj else ())]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Without those that only a saved row can show."""
        shown = super().get_fields(request, obj)
        return [name for name in shown if obj or name not in self.readonly_fields]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Sequence[Any]:
        return self.inlines if obj else []

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change=change, **options)
        # A class of this request alone.
        form.request = request
        form.refusal = getattr(request, "refusal", None)
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What a link fills in; a value that its field cannot read is left out."""
        initial = dict(super().get_changeform_initial_data(request))
        for field in self.opts.fields:
            try:
                if field.name in initial:
                    initial[field.name] = field.to_python(initial[field.name])
            except ValidationError:
                del initial[field.name]
        return initial

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            return cast(HttpResponse, super().changeform_view(request, object_id, form_url, extra_context))
        except ValidationError as refusal:
            # All is rolled back. The same request once more, whose form now knows what is wrong.
            request.refusal = refusal  # type: ignore[attr-defined]
            return cast(HttpResponse, super().changeform_view(request, object_id, form_url, extra_context))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change and not form.has_changed():
            return
        with refusals():
            if not change:
                self.require_write(request, [obj])
            self.write(request, obj, form)

    def write(self, request: HttpRequest, obj: Any, form: Any) -> None:
        """Create or change the row; a new one has no primary key yet."""
        raise NotImplementedError

    # Deletion

    def remove(self, request: HttpRequest, obj: Any) -> None:
        obj.delete()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with refusals():
            self.remove(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for obj in queryset:
            self.delete_model(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        """The rows themselves, how much goes with them, what forbids it, and what stands in the way.

        One role decides; Django would ask for a permission on each dependent row, and name them all.
        """
        rows = list(objs)
        names = [str(row) for row in rows]
        forbidden = {self.opts.verbose_name for row in rows if not self.has_delete_permission(request, row)}
        if self.soft_delete:
            return names, {self.opts.verbose_name_plural: len(rows)}, forbidden, []
        collector = NestedObjects(using=router.db_for_write(self.model))
        collector.collect(rows)
        found = cast(dict[Any, Any], collector.model_objs).items()
        counts = {model._meta.verbose_name_plural: len(dependent) for model, dependent in found}
        in_the_way: set[Any] = collector.protected
        protected = [f"{row._meta.verbose_name}: {row}" for row in in_the_way]
        return names, counts, forbidden, protected

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        try:
            return cast(HttpResponse, super().delete_view(request, object_id, extra_context))
        except ValidationError as refusal:
            self.message_user(request, " ".join(refusal.messages), messages.ERROR)
            name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
            return HttpResponseRedirect(reverse(name, args=[object_id]))

    # List

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only what a filter offers: a query on a hidden column would read it out letter by letter."""
        offered = [self.date_hierarchy] if self.date_hierarchy else []
        for item in self.list_filter:
            path = item[0] if isinstance(item, tuple | list) else item
            offered.append(path if isinstance(path, str) else path.parameter_name)
        known = any(lookup == path or lookup.startswith(f"{path}__") for path in offered)
        return known and super().lookup_allowed(lookup, value, request)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            return super().get_changelist_instance(request)
        except (ValueError, OverflowError) as error:
            # A value in the query string that the database cannot compare, such as the year 9999.
            raise IncorrectLookupParameters from error

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Bulk actions happen wholly or not at all."""
        if request.method != "POST":
            return cast(HttpResponse, super().changelist_view(request, extra_context))
        try:
            with transaction.atomic():
                return cast(HttpResponse, super().changelist_view(request, extra_context))
        except ValidationError as refusal:
            self.message_user(request, " ".join(refusal.messages), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(is_id(pk) for pk in chosen):
            raise ValidationError(_("Choose rows of the list."))
        return cast(HttpResponse | None, super().response_action(request, queryset))


class ReadOnlyAdmin(ScopedAdmin):
    """History and bookkeeping, often long: looked at, never written here."""

    can_add = can_change = can_delete = False
    show_full_result_count = False
