"""The parts of an automation's JSON: scope, event, actions, period."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from automations import access
from automations.actions.base import ACTIONS
from automations.models import Action, Automation, Integration, ScopeType
from automations.services.rules import ActionDraft, check_event
from runs import access as runs_access
from runs.models import Role
from runs.rest.errors import FieldNotFound
from runs.rest.fields import StrictSerializer, StringField, VisibleField


@extend_schema_field(
    {
        "type": "object",
        "required": ["type", "id"],
        "additionalProperties": False,
        "properties": {
            "type": {"type": "string", "enum": ScopeType.values},
            "id": {"type": "integer", "format": "int64"},
        },
    }
)
class ScopeField(serializers.Field):
    """`{"type": "project", "id": 3}`."""

    def get_attribute(self, instance: Automation) -> Automation:
        return instance

    def to_representation(self, automation: Automation) -> dict[str, Any]:
        return {"type": automation.scope_type, "id": getattr(automation, f"{automation.scope_type}_id")}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict) or set(data) != {"type", "id"}:
            raise ValidationError(_('This must look like {"type": "project", "id": 3}.'))
        if data["type"] not in ScopeType.values:
            raise ValidationError(_("“%s” is no scope type.") % str(data["type"])[:80])
        pk = data["id"]
        if isinstance(pk, bool) or not isinstance(pk, int) or not 0 <= pk < 2**63:
            raise ValidationError(_('This must look like {"type": "project", "id": 3}.'))
        scope_type = ScopeType(data["type"])
        found = access.visible_scopes(self.context["request"].user, scope_type).filter(pk=pk).first()
        if found is None:
            raise FieldNotFound("scope")
        return found


class EventField(serializers.Field):
    """`{"type": …}` and the fields of that type, validated by the type's own form."""

    def get_attribute(self, instance: Automation) -> Automation:
        return instance

    def to_representation(self, automation: Automation) -> dict[str, Any]:
        return {"type": automation.event_type, **automation.config}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict) or "type" not in data:
            raise ValidationError(_('This must be an object with a "type".'))
        config = {name: value for name, value in data.items() if name != "type"}
        try:
            return {"type": data["type"], **check_event(data["type"], config)}
        except DjangoValidationError as error:
            raise ValidationError(error.message_dict) from error


@extend_schema_field({"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "enum": ["run"]}]})
class PeriodField(serializers.Field):
    """Seconds in which a rule fires once per run; 0: every match; "run": once ever per run."""

    MAX = 10 * 365 * 86_400

    def get_attribute(self, instance: Automation) -> Automation:
        return instance

    def to_representation(self, automation: Automation) -> int | str:
        return "run" if automation.period is None else automation.period

    def to_internal_value(self, data: Any) -> int | str:
        if data == "run":
            return "run"
        if isinstance(data, bool) or not isinstance(data, int) or not 0 <= data <= self.MAX:
            raise ValidationError(_('This must be a number of seconds up to ten years, or "run".'))
        return data


class ActionSerializer(StrictSerializer):
    """An action: `type`, `integration` where the type needs one, and the fields of the type."""

    type = StringField()
    integration = VisibleField(
        queryset=Integration.objects.all(), visible=access.integrations, required=False, allow_null=True
    )

    def to_internal_value(self, data: Any) -> ActionDraft:
        if not isinstance(data, dict):
            raise ValidationError(_("An action is an object."))
        if "type" not in data:
            # Asked here, because a change of the rule may leave things out and an action may not.
            raise ValidationError({"type": [_("This field is required.")]})
        known = {name: data[name] for name in ("type", "integration") if name in data}
        base = super().to_internal_value(known)
        if integration := base.get("integration"):
            # Who may only look at a team may not send in its name either.
            runs_access.require_role(self.context["request"].user, integration.team, Role.MEMBER)
        config = {name: value for name, value in data.items() if name not in known}
        return ActionDraft(base["type"], base.get("integration"), config)

    def to_representation(self, action: Action) -> dict[str, Any]:
        shown: dict[str, Any] = {"type": action.type}
        if ACTIONS[action.type].integration_form is not None:
            shown["integration"] = action.integration_id
        return {**shown, **action.config}
