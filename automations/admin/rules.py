from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.forms.formsets import DELETION_FIELD_NAME
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from automations import access, overview, testfire
from automations.admin.recent import ExecutionInline, all_executions
from automations.events.base import EVENTS
from automations.models import Action, Automation, Integration, Mode, ScopeType
from automations.services import rules
from config.adminbase import (
    JSONField,
    ReadOnlyAdmin,
    ScopedAdmin,
    ServiceForm,
    ServiceInline,
    VisibleFilter,
    actor,
    refusals,
    team_roles,
)
from registry.admin.roles import has_registry_role, has_role_somewhere, holds
from registry.models import Collection, Registry
from runs.models import Project, Role, Team


def _fields_by_event() -> str:
    lines = [(event.key, ", ".join(event.config_form.base_fields)) for event in EVENTS]
    return format_html("{}<br>{}", _("JSON, by event:"), format_html_join(mark_safe("<br>"), "{}: {}", lines))


class AutomationForm(ServiceForm):
    config = JSONField(label=gettext_lazy("condition"), required=False)
    error_fields = {"event": "config", "scope": "scope_type"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "config" in self.fields:
            self.fields["config"].help_text = _fields_by_event()

    def clean_period(self) -> int | None:
        period: int | None = self.cleaned_data["period"]
        if period is not None and period < 0:
            raise ValidationError(_("A period is not negative."))
        return period

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "scope_type" in cleaned:
            self._clean_scope(cleaned, cleaned["scope_type"])
        if "event_type" in cleaned and "config" in cleaned:
            self._clean_event(cleaned)
        return cleaned

    def _clean_scope(self, cleaned: dict[str, Any], scope_type: str) -> None:
        """Only the field that the scope's type names counts."""
        for other in ScopeType.values:
            if other != scope_type:
                cleaned[other] = None
        scope = cleaned.get(scope_type)
        if scope is None:
            if scope_type not in self.errors:
                self.add_error(scope_type, _("Choose what the automation watches."))
            return
        try:
            access.require_scope_role(actor(self.request), scope, Role.MEMBER)
        except PermissionDenied as error:
            self.add_error(scope_type, str(error))

    def _clean_event(self, cleaned: dict[str, Any]) -> None:
        try:
            cleaned["config"] = rules.check_event(cleaned["event_type"], cleaned["config"])
        except ValidationError as error:
            for name, texts in error.message_dict.items():
                self.add_error("config", [f"{name}: {text}" for text in texts])


class ActionForm(ServiceForm):
    config = JSONField(label=gettext_lazy("content"), required=False)

    def draft(self) -> rules.ActionDraft | None:
        """None for a row that stayed empty, is to be deleted, or holds an error."""
        cleaned = getattr(self, "cleaned_data", {})
        if self.errors or cleaned.get(DELETION_FIELD_NAME) or not cleaned.get("type"):
            return None
        return rules.ActionDraft(cleaned["type"], cleaned.get("integration"), cleaned["config"])


class ActionFormSet(BaseInlineFormSet):
    """All actions of a rule, in order: they are saved together, with the rule."""

    forms: list[Any]

    def drafts(self) -> list[rules.ActionDraft]:
        return [draft for form in self.forms if (draft := form.draft()) is not None]

    def clean(self) -> None:
        super().clean()
        for form in self.forms if self.instance.event_type in EVENTS else ():
            draft = form.draft()
            if draft is None:
                continue
            try:
                rules.check_action(draft)
            except ValidationError as error:
                self._show(form, error)

    def _show(self, form: ActionForm, error: ValidationError) -> None:
        """The fields of a type's own form are parts of the content."""
        for name, texts in error.message_dict.items():
            own = name in form.fields
            form.add_error(name if own else "config", texts if own else [f"{name}: {text}" for text in texts])


class ActionInline(ServiceInline):
    model = Action
    form = ActionForm
    formset = ActionFormSet
    fields = ["type", "integration", "config"]
    automation: Automation | None = None
    max_num = 100

    def get_formset(self, request: HttpRequest, obj: Automation | None = None, **options: Any) -> Any:
        self.automation = obj
        # A request that claims more rows than this is refused before they are built.
        return super().get_formset(request, obj, absolute_max=self.max_num + 1, **options)

    def get_extra(self, request: HttpRequest, obj: Automation | None = None, **options: Any) -> int:
        return 0 if obj else 1

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """What the person sees, and what the rule uses already. Read once, not once a row."""
        field = super().formfield_for_foreignkey(db_field, request, **options)
        seen = access.integrations(actor(request)).values("pk")
        used = Q(actions__automation=self.automation) if self.automation else Q()
        field.queryset = Integration.objects.filter(Q(pk__in=seen) | used).distinct().select_related("team")
        field.label_from_instance = lambda integration: f"{integration.team}/{integration}"
        field.choices = list(field.choices)
        return field


@admin.register(Automation)
class AutomationAdmin(ScopedAdmin):
    list_display = ["name", "event_type", "scope_type", "watches", "mode", "armed_at", "updated_at"]
    list_filter = [
        "mode",
        "event_type",
        "scope_type",
        ("project", VisibleFilter),
        ("team", VisibleFilter),
        ("registry", VisibleFilter),
    ]
    search_fields = ["name", "description"]
    list_select_related = overview.NAMED
    form = AutomationForm
    fields = [
        "name",
        "description",
        "mode",
        "muted_until",
        "scope_type",
        "project",
        "registry",
        "collection",
        "team",
        "organization",
        "event_type",
        "config",
        "period",
        "per_status",
        "armed_at",
        "created_by",
        "created_at",
        "updated_at",
        "executions",
    ]
    readonly_fields = ["armed_at", "created_by", "created_at", "updated_at", "executions"]
    autocomplete_fields = ["project", "registry", "collection", "team", "organization"]
    inlines = [ActionInline, ExecutionInline]
    actions = ["enable", "disable", "fire_as_test"]
    write_role = Role.MEMBER

    def visible(self, user: Any) -> QuerySet[Automation]:
        return access.automations(user)

    def has_role(self, request: HttpRequest, obj: Automation, role: Role) -> bool:
        if actor(request).is_superuser:
            return True
        scope = obj.scope
        if isinstance(scope, Registry):
            return has_registry_role(request, scope.pk, role)
        if isinstance(scope, Collection):
            return holds(request, scope, role)
        team_id = scope.team_id if isinstance(scope, Project) else scope.pk
        # Rules of the whole organization are made by superusers.
        return isinstance(scope, Project | Team) and team_roles(request).get(team_id) in role.and_above

    def has_role_somewhere(self, request: HttpRequest, role: Role) -> bool:
        return has_role_somewhere(request, role)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Sequence[Any]:
        return self.inlines if obj else [ActionInline]

    @admin.display(description=gettext_lazy("watches"))
    def watches(self, obj: Automation) -> str:
        return str(obj.scope)

    @admin.display(description=gettext_lazy("executions"))
    def executions(self, obj: Automation) -> str:
        return all_executions(obj)

    def save_model(self, request: HttpRequest, obj: Automation, form: Any, change: bool) -> None:
        """Nothing yet: a rule and its actions are saved in one call, by `save_related`."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        rule: Automation = form.instance
        actions = formsets[0]
        for formset in formsets:
            # For the page's change history, which asks each of them.
            formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        if change and not form.has_changed() and not actions.has_changed():
            return
        drafts = actions.drafts() if not change or actions.has_changed() else None
        if not change:
            rule.created_by = actor(request)
        with refusals():
            rules.save_automation(rule, scope=rule.scope, actions=drafts)

    def remove(self, request: HttpRequest, obj: Automation) -> None:
        rules.delete_automation(obj)

    def _set_mode(self, request: HttpRequest, queryset: QuerySet[Automation], mode: Mode) -> None:
        found = self.writable(request, queryset.exclude(mode=mode))
        for automation in found:
            rules.set_mode(automation, mode)
        text = ngettext("%(count)d automation changed.", "%(count)d automations changed.", len(found))
        self.message_user(request, text % {"count": len(found)}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        self._set_mode(request, queryset, Mode.ACTIVE)

    @admin.action(description=gettext_lazy("Disable"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        self._set_mode(request, queryset, Mode.DISABLED)

    @admin.action(description=gettext_lazy("Fire with an example, as a test"), permissions=["change"])
    def fire_as_test(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        found = self.writable(request, queryset)
        for automation in found:
            testfire.fire_by_hand(automation, actor=actor(request))
        text = ngettext(
            "%(count)d automation was fired; its execution tells what came of it.",
            "%(count)d automations were fired; their executions tell what came of it.",
            len(found),
        )
        self.message_user(request, text % {"count": len(found)}, messages.SUCCESS)


@admin.register(Action)
class ActionAdmin(ReadOnlyAdmin):
    """All actions at a glance; they are written on the automation's page."""

    list_display = ["automation", "position", "type", "integration"]
    list_filter = ["type", ("integration", VisibleFilter)]
    search_fields = ["automation__name"]
    list_select_related = ["automation", "integration"]
    fields = [*list_display, "config"]

    def visible(self, user: Any) -> QuerySet[Action]:
        return Action.objects.filter(automation__in=access.automations(user).values("pk"))
