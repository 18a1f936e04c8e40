from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy, ngettext

from automations import access, delivery
from automations.actions.base import ACTIONS
from automations.admin.blocks import json_block, text_block
from automations.api.history import sentence
from automations.events.base import EVENTS
from automations.models import Attempt, Delivery, Event, Execution, Feed, Outlet, RunLimit
from config.adminbase import ReadOnlyAdmin, ReadOnlyInline, VisibleFilter, actor, follow, team_roles
from registry.admin.roles import has_registry_role, has_role_somewhere
from registry.models import ChangeKind
from runs import access as runs_access
from runs.models import Role


class EventTypeFilter(admin.SimpleListFilter):
    """By what happened; the catalogue's types first, then what is observed without one."""

    title = gettext_lazy("event")
    parameter_name = "event"
    field = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(({**dict(ChangeKind.choices), **dict(EVENTS.choices())}).items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


class ExecutionEventFilter(EventTypeFilter):
    field = "event_type"


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = [
        "type",
        "sequence",
        "team",
        "project",
        "registry",
        "collection",
        "run",
        "received_at",
        "decided_at",
    ]
    list_filter = [EventTypeFilter, ("team", VisibleFilter), ("registry", VisibleFilter)]
    search_fields = ["run__name", "=run__run_id", "collection__name"]
    list_select_related = [
        "organization",
        "team",
        "project__team",
        "registry",
        "collection__project__team",
        "collection__registry",
        "run",
        "version__home",
    ]
    fields = [*list_display, "organization", "version", "facts"]
    readonly_fields = ["facts"]

    def visible(self, user: Any) -> QuerySet[Event]:
        return access.events(user)

    @admin.display(description=gettext_lazy("data"))
    def facts(self, obj: Event) -> str:
        return json_block(obj.data)


class HistoryAdmin(ReadOnlyAdmin):
    """Base of what was decided and sent; members may have what failed sent again."""

    execution_path = ""
    actions = ["redeliver"]
    write_role = Role.MEMBER

    def has_role(self, request: HttpRequest, obj: Any, role: Role) -> bool:
        execution: Execution = follow(obj, self.execution_path)
        if actor(request).is_superuser:
            return True
        if execution.team_id is not None:
            return team_roles(request).get(execution.team_id) in role.and_above
        return has_registry_role(request, execution.registry_id, role)

    def has_role_somewhere(self, request: HttpRequest, role: Role) -> bool:
        return has_role_somewhere(request, role)

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        return self.may_write(request)

    def deliveries(self, rows: list[Any]) -> QuerySet[Delivery]:
        raise NotImplementedError

    @admin.action(description=gettext_lazy("Send what failed again"), permissions=["redeliver"])
    def redeliver(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = delivery.requeue(self.deliveries(self.writable(request, queryset)))
        text = ngettext("%(count)d delivery is sent again.", "%(count)d deliveries are sent again.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)


class ActionTypeFilter(admin.SimpleListFilter):
    title = gettext_lazy("action")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return ACTIONS.choices()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class DeliveryInline(ReadOnlyInline):
    model = Delivery
    fields = ["webhook_id", "type", "integration", "state", "attempt_count", "next_at", "finished_at"]
    ordering = ["pk"]
    select_related = ["integration"]


@admin.register(Execution)
class ExecutionAdmin(HistoryAdmin):
    list_display = [
        "created_at",
        "automation_name",
        "event_type",
        "state",
        "is_test",
        "count",
        "run",
        "version",
        "team",
        "registry",
    ]
    list_filter = [
        "state",
        "is_test",
        ExecutionEventFilter,
        ("automation", VisibleFilter),
        ("team", VisibleFilter),
        ("registry", VisibleFilter),
    ]
    search_fields = ["automation_name", "run__name", "=run__run_id"]
    list_select_related = ["run", "version__home", "team", "registry", "automation", "event"]
    date_hierarchy = "created_at"
    fields = [
        "automation",
        "name_then",
        "what",
        "event",
        "state",
        "is_test",
        "why",
        "data",
        "count",
        "run",
        "version",
        "team",
        "registry",
        "created_at",
        "finished_at",
        "event_then",
        "actions_then",
    ]
    readonly_fields = ["name_then", "what", "why", "data", "event_then", "actions_then"]
    inlines = [DeliveryInline]

    def visible(self, user: Any) -> QuerySet[Execution]:
        return access.executions(user)

    @admin.display(description=gettext_lazy("its name then"))
    def name_then(self, obj: Execution) -> str:
        return obj.automation_name

    @admin.display(description=gettext_lazy("event type"))
    def what(self, obj: Execution) -> Any:
        return EVENTS[obj.event_type].label if obj.event_type in EVENTS else obj.event_type

    @admin.display(description=gettext_lazy("why"))
    def why(self, obj: Execution) -> str:
        return sentence(obj)

    @admin.display(description=gettext_lazy("data"))
    def data(self, obj: Execution) -> str:
        return json_block(obj.explanation.get("data", {}))

    @admin.display(description=gettext_lazy("the event then"))
    def event_then(self, obj: Execution) -> str:
        return json_block(obj.snapshot.get("event", {}))

    @admin.display(description=gettext_lazy("its actions then"))
    def actions_then(self, obj: Execution) -> str:
        return json_block(obj.snapshot.get("actions", []))

    def deliveries(self, rows: list[Any]) -> QuerySet[Delivery]:
        return Delivery.objects.filter(execution__in=rows)


class AttemptInline(ReadOnlyInline):
    model = Attempt
    fields = ["number", "started_at", "duration", "status_code", "response", "error"]
    ordering = ["number"]


@admin.register(Delivery)
class DeliveryAdmin(HistoryAdmin):
    list_display = [
        "created_at",
        "webhook_id",
        "execution",
        "type",
        "integration",
        "state",
        "order",
        "attempt_count",
        "next_at",
    ]
    list_filter = ["state", ActionTypeFilter, "order", ("integration", VisibleFilter)]
    search_fields = ["=webhook_id", "execution__automation_name"]
    list_select_related = ["execution", "integration"]
    date_hierarchy = "created_at"
    fields = [*list_display, "finished_at", "message"]
    readonly_fields = ["message"]
    inlines = [AttemptInline]
    execution_path = "execution"

    def visible(self, user: Any) -> QuerySet[Delivery]:
        return access.deliveries(user)

    @admin.display(description=gettext_lazy("body"))
    def message(self, obj: Delivery) -> str:
        return text_block(obj.body)

    def deliveries(self, rows: list[Any]) -> QuerySet[Delivery]:
        return Delivery.objects.filter(pk__in=[row.pk for row in rows])


class AnswerFilter(admin.SimpleListFilter):
    """By what came back: a kind of status, or nothing."""

    title = gettext_lazy("answer")
    parameter_name = "answer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(digit, f"{digit}xx") for digit in "2345"] + [("none", gettext_lazy("No answer"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        if self.value() == "none":
            return queryset.filter(status_code=None)
        if self.value() in set("2345"):
            first = int(self.value() or 0) * 100
            return queryset.filter(status_code__gte=first, status_code__lt=first + 100)
        return queryset


@admin.register(Attempt)
class AttemptAdmin(HistoryAdmin):
    list_display = ["started_at", "delivery", "number", "status_code", "duration", "error"]
    list_filter = [AnswerFilter, ("delivery__integration", VisibleFilter)]
    search_fields = ["=delivery__webhook_id"]
    list_select_related = ["delivery__execution"]
    execution_path = "delivery__execution"
    fields = [
        "delivery",
        "number",
        "started_at",
        "duration",
        "status_code",
        "error",
        "sent",
        "sent_body",
        "answer",
    ]
    readonly_fields = ["sent", "sent_body", "answer"]

    def visible(self, user: Any) -> QuerySet[Attempt]:
        return Attempt.objects.filter(delivery__in=access.deliveries(user).values("pk"))

    def deliveries(self, rows: list[Any]) -> QuerySet[Delivery]:
        return Delivery.objects.filter(pk__in={row.delivery_id for row in rows})

    @admin.display(description=gettext_lazy("request"))
    def sent(self, obj: Attempt) -> str:
        return json_block({name: value for name, value in obj.request.items() if name != "body"})

    @admin.display(description=gettext_lazy("body"))
    def sent_body(self, obj: Attempt) -> str:
        return text_block(obj.request.get("body", ""))

    @admin.display(description=gettext_lazy("response"))
    def answer(self, obj: Attempt) -> str:
        return text_block(obj.response)


@admin.register(Outlet)
class OutletAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "window", "silences", "paused_until", "failing_since", "failures"]
    list_filter = [("failing_since", admin.EmptyFieldListFilter)]
    search_fields = ["integration__name"]
    list_select_related = ["integration"]
    fields = ["integration", *list_display[1:]]
    team_path = "integration__team"


@admin.register(Feed)
class FeedAdmin(ReadOnlyAdmin):
    list_display = ["organization", "head"]
    list_select_related = ["organization"]
    fields = list_display

    def visible(self, user: Any) -> QuerySet[Feed]:
        return Feed.objects.filter(organization__in=runs_access.organizations(user).values("pk"))


@admin.register(RunLimit)
class RunLimitAdmin(ReadOnlyAdmin):
    list_display = ["automation", "run", "status", "fired_at"]
    search_fields = ["automation__name", "run__name", "=run__run_id"]
    list_select_related = ["automation", "run"]
    fields = list_display
    team_path = "run__project__team"
