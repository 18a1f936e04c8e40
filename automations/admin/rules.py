from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy, ngettext

from automations import access, overview, testfire
from automations.admin.blocks import json_block
from automations.admin.recent import ExecutionInline, all_executions
from automations.admin.ruleform import AutomationForm, draft_of, offered_presets
from automations.models import Action, Automation, Mode
from automations.ruleforms import shown
from automations.services import rules
from automations.views import preview
from config.adminbase import (
    THEME_HAS_HTMX,
    ReadOnlyAdmin,
    ReadOnlyInline,
    ScopedAdmin,
    ServiceForm,
    VisibleFilter,
    actor,
    adopt,
    team_roles,
)
from registry.admin.roles import has_registry_role, has_role_somewhere, holds
from registry.models import Collection, Registry
from runs import clock
from runs.models import Project, Role, Team

# What a reader who may not write it sees of a rule, and what everybody sees of one that is saved.
_RULE = ["name", "description", "mode", "muted_until", "event_type", "condition", "watches", "period"]
_FACTS = ["armed_at", "created_by", "created_at", "updated_at", "executions"]


class ActionInline(ReadOnlyInline):
    """For who may not write the rule; else they are part of its form."""

    model = Action
    fields = ["type", "integration", "content"]
    readonly_fields = ["content"]
    ordering = ["position"]
    select_related = ["integration"]
    show_change_link = False

    @admin.display(description=gettext_lazy("content"))
    def content(self, obj: Action) -> str:
        return json_block(obj.config)


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
    readonly_fields = ["condition", "watches", *_FACTS]
    actions = ["enable", "disable", "mute", "fire_as_test"]
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

    # Its page

    def _may_save(self, request: HttpRequest, obj: Automation | None) -> bool:
        return self.has_change_permission(request, obj) if obj else self.has_add_permission(request)

    def get_form(
        self, request: HttpRequest, obj: Automation | None = None, change: bool = False, **options: Any
    ) -> Any:
        if not self._may_save(request, obj):
            options["form"] = ServiceForm
        return super().get_form(request, obj, change, **options)

    def get_fields(self, request: HttpRequest, obj: Automation | None = None) -> list[str]:
        if obj is None:
            return []
        return _FACTS if self._may_save(request, obj) else [*_RULE, *_FACTS]

    def get_fieldsets(self, request: HttpRequest, obj: Automation | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else []

    def get_inlines(self, request: HttpRequest, obj: Automation | None) -> Sequence[Any]:
        if obj is None:
            return []
        return [ExecutionInline] if self._may_save(request, obj) else [ActionInline, ExecutionInline]

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        draft = draft_of(request)
        if draft is not None:
            # Shown once more as it is written, and nothing saved: as when it is opened.
            vars(request)["draft"] = draft
            request.method = "GET"
        return super().changeform_view(request, object_id, form_url, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        if isinstance(form, AutomationForm):
            context |= shown.parts(form.rule_form)
            context |= {"has_rule_form": True, "brings_htmx": not THEME_HAS_HTMX}
            if "try" in request.POST:  # without scripts
                context |= preview.tried(request)
            if form.rule_form.rule is None:
                context |= {"presets": offered_presets(request), "preset": request.GET.get("preset")}
        return cast(HttpResponse, super().render_change_form(request, context, *args, **options))

    @admin.display(description=gettext_lazy("condition"))
    def condition(self, obj: Automation) -> str:
        return json_block(obj.config)

    @admin.display(description=gettext_lazy("watches"))
    def watches(self, obj: Automation) -> str:
        return str(obj.scope)

    @admin.display(description=gettext_lazy("executions"))
    def executions(self, obj: Automation) -> str:
        return all_executions(obj)

    def save_model(self, request: HttpRequest, obj: Automation, form: Any, change: bool) -> None:
        """Nothing yet: a rule and its actions are saved in one call, by `save_related`."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        for formset in formsets:
            # For the page's change history, which asks each of them.
            formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        if not change or form.has_changed():
            adopt(form.instance, form.save_rule())

    def response_add(
        self, request: HttpRequest, obj: Automation, post_url_continue: Any = None
    ) -> HttpResponse:
        answer = super().response_add(request, obj, post_url_continue)
        return self._fired(request, obj) if "_fire" in request.POST else cast(HttpResponse, answer)

    def response_change(self, request: HttpRequest, obj: Automation) -> HttpResponse:
        answer = super().response_change(request, obj)
        return self._fired(request, obj) if "_fire" in request.POST else cast(HttpResponse, answer)

    def _fired(self, request: HttpRequest, obj: Automation) -> HttpResponse:
        """To what came of firing it by hand."""
        execution = testfire.fire_by_hand(obj, actor=actor(request))
        return redirect("admin:automations_execution_change", execution.pk)

    def remove(self, request: HttpRequest, obj: Automation) -> None:
        rules.delete_automation(obj)

    def _set_mode(
        self,
        request: HttpRequest,
        queryset: QuerySet[Automation],
        mode: Mode,
        *,
        until: datetime | None = None,
    ) -> None:
        found = self.writable(request, queryset if until else queryset.exclude(mode=mode))
        for automation in found:
            rules.set_mode(automation, mode, until=until)
        text = ngettext("%(count)d automation changed.", "%(count)d automations changed.", len(found))
        self.message_user(request, text % {"count": len(found)}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        self._set_mode(request, queryset, Mode.ACTIVE)

    @admin.action(description=gettext_lazy("Disable"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        self._set_mode(request, queryset, Mode.DISABLED)

    @admin.action(description=gettext_lazy("Mute for a day"), permissions=["change"])
    def mute(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        self._set_mode(request, queryset, Mode.MUTED, until=clock.now() + timedelta(days=1))

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
