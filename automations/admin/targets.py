from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from automations import disabling, trial, vault
from automations.admin.blocks import json_block, text_block
from automations.models import Inbox, InboxRequest, Integration, Secret
from automations.services import targets
from config.adminbase import (
    PasswordInput,
    ReadOnlyAdmin,
    ScopedAdmin,
    ServiceForm,
    TextInput,
    VisibleFilter,
    actor,
)
from runs.models import Role

# So many integrations are tried at a time.
_TRIALS = 5

_KEPT = gettext_lazy("Not shown again. Leave it empty to keep what is stored.")


class TeamOwnedAdmin(ScopedAdmin):
    """Base of what a team owns and where it sends."""

    list_filter: list[Any] = [("team", VisibleFilter)]
    search_fields = ["name", "team__name"]
    list_select_related = ["team"]
    fixed_fields = ["team"]
    autocomplete_fields = ["team"]
    write_role = Role.ADMIN

    def remove(self, request: HttpRequest, obj: Any) -> None:
        targets.delete_target(obj)


class SecretForm(ServiceForm):
    value = forms.CharField(
        label=gettext_lazy("value"),
        required=False,
        strip=False,
        max_length=10_000,
        widget=PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_KEPT,
    )


@admin.register(Secret)
class SecretAdmin(TeamOwnedAdmin):
    list_display = ["name", "team", "created_at", "updated_at"]
    form = SecretForm
    fields = ["team", "name", "value", "created_at", "updated_at"]
    readonly_fields = ["created_at", "updated_at"]

    def write(self, request: HttpRequest, obj: Secret, form: Any) -> None:
        targets.save_secret(obj, value=form.cleaned_data["value"] or None)


class IntegrationForm(ServiceForm):
    url = forms.CharField(
        label=gettext_lazy("URL"),
        required=False,
        strip=False,
        max_length=4000,
        widget=TextInput(attrs={"autocomplete": "off"}),
        help_text=_KEPT,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("access_token", "signing_secret", "signing_secret_previous"):
            field: Any = self.fields.get(name)
            if field is None:
                continue
            field.label_from_instance = lambda secret: f"{secret.team}/{secret}"
            if self.instance.pk:
                field.queryset = field.queryset.filter(team=self.instance.team_id)


@admin.register(Integration)
class IntegrationAdmin(TeamOwnedAdmin):
    list_display = ["name", "team", "type", "host", "healthy", "failing_since", "disabled_at", "created_at"]
    list_select_related = ["team", "outlet"]
    list_filter = ["type", ("disabled_at", admin.EmptyFieldListFilter), ("team", VisibleFilter)]
    search_fields = ["name", "host", "team__name"]
    form = IntegrationForm
    fields = [
        "team",
        "type",
        "name",
        "url",
        "host",
        "access_token",
        "signing_secret",
        "signing_secret_previous",
        "timeout",
        "concurrency",
        "rate",
        "failing_since",
        "disabled_at",
        "why_disabled",
        "created_at",
    ]
    readonly_fields = ["host", "failing_since", "disabled_at", "why_disabled", "created_at"]
    fixed_fields = ["team", "type"]
    actions = ["enable", "disable", "try_out"]

    @admin.display(description=gettext_lazy("enabled"), boolean=True)
    def healthy(self, obj: Integration) -> bool:
        return obj.healthy

    @admin.display(description=gettext_lazy("why disabled"))
    def why_disabled(self, obj: Integration) -> str:
        return obj.why_disabled

    @admin.display(description=gettext_lazy("failing since"))
    def failing_since(self, obj: Integration) -> datetime | None:
        # The outlet is made with the first message.
        return obj.outlet.failing_since if hasattr(obj, "outlet") else None

    def write(self, request: HttpRequest, obj: Integration, form: Any) -> None:
        try:
            targets.save_integration(obj, url=form.cleaned_data["url"] or None)
        except vault.VaultError as error:
            raise ValidationError(str(error)) from error

    def _set_enabled(self, request: HttpRequest, queryset: QuerySet[Integration], *, enabled: bool) -> None:
        found = self.writable(request, queryset.filter(disabled_at__isnull=not enabled))
        for integration in found:
            reason = "" if enabled else disabling.by(actor(request))
            targets.set_integration_enabled(integration, enabled=enabled, reason=reason)
        text = ngettext("%(count)d integration changed.", "%(count)d integrations changed.", len(found))
        self.message_user(request, text % {"count": len(found)}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Enable, and send what was held"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Integration]) -> None:
        self._set_enabled(request, queryset, enabled=True)

    @admin.action(description=gettext_lazy("Disable, and hold what is sent"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Integration]) -> None:
        self._set_enabled(request, queryset, enabled=False)

    @admin.action(description=gettext_lazy("Send a test message"), permissions=["change"])
    def try_out(self, request: HttpRequest, queryset: QuerySet[Integration]) -> None:
        found = self.writable(request, queryset)
        if len(found) > _TRIALS:
            raise ValidationError(_("Choose %(most)d at most: each is waited for.") % {"most": _TRIALS})
        for integration in found:
            # After the transaction of this page: receivers are slow, and some are our own inboxes.
            transaction.on_commit(partial(self._try, request, integration))

    def _try(self, request: HttpRequest, integration: Integration) -> None:
        outcome = trial.try_integration(integration, actor=actor(request))
        answer = outcome.error or (f"HTTP {outcome.status}" if outcome.status else _("sent"))
        data = {"name": integration.name, "answer": answer, "seconds": outcome.duration}
        text = _("%(name)s: %(answer)s (%(seconds).2f s)") % data
        self.message_user(request, text, messages.SUCCESS if outcome.ok else messages.ERROR)


@admin.register(Inbox)
class InboxAdmin(TeamOwnedAdmin):
    list_display = ["name", "team", "created_at"]
    fields = ["team", "name", "address", "created_at"]
    readonly_fields = ["address", "created_at"]
    write_role = Role.MEMBER

    @admin.display(description=gettext_lazy("URL"))
    def address(self, obj: Inbox) -> str:
        return obj.url

    def write(self, request: HttpRequest, obj: Inbox, form: Any) -> None:
        targets.save_inbox(obj)


@admin.register(InboxRequest)
class InboxRequestAdmin(ReadOnlyAdmin):
    list_display = ["received_at", "inbox", "verdict"]
    list_filter = ["verdict", ("inbox", VisibleFilter)]
    search_fields = ["inbox__name"]
    list_select_related = ["inbox"]
    fields = [*list_display, "came_with", "came"]
    readonly_fields = ["came_with", "came"]
    team_path = "inbox__team"

    @admin.display(description=gettext_lazy("headers"))
    def came_with(self, obj: InboxRequest) -> str:
        return json_block(obj.headers)

    @admin.display(description=gettext_lazy("body"))
    def came(self, obj: InboxRequest) -> str:
        return text_block(obj.body)
