from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from registry.models import Collection, Registry
from runs.models import Organization, Project, Team, User
from runs.names import NAME_LENGTH, validate_name

if TYPE_CHECKING:
    from automations.models.targets import Integration

DAY = 86_400


class Mode(models.TextChoices):
    ACTIVE = "active", _("Active")
    SHADOW = "shadow", _("Shadow: record, send nothing")
    MUTED = "muted", _("Muted until a time")
    DISABLED = "disabled", _("Disabled")


class ScopeType(models.TextChoices):
    """What an automation watches (R1); each is also the name of the column that holds it."""

    PROJECT = "project", _("Project")
    REGISTRY = "registry", _("Registry")
    COLLECTION = "collection", _("Collection")
    TEAM = "team", _("Team")
    ORGANIZATION = "organization", _("Organization")


def event_type_choices() -> list[tuple[str, str]]:
    from automations.events.base import EVENTS

    return EVENTS.choices()


def action_type_choices() -> list[tuple[str, str]]:
    from automations.actions.base import ACTIONS

    return ACTIONS.choices()


def _scope_matches_its_column() -> Q:
    """Exactly the column named by `scope_type` is filled."""
    condition = Q()
    for scope in ScopeType.values:
        empty = {f"{other}__isnull": other != scope for other in ScopeType.values}
        condition |= Q(scope_type=scope, **empty)
    return condition


class Automation(models.Model):
    """A rule: in one scope (R1), on one event type, under a condition, with actions."""

    name = models.CharField(_("name"), max_length=NAME_LENGTH, validators=[validate_name])
    description = models.TextField(_("description"), blank=True)
    mode = models.CharField(_("mode"), max_length=16, choices=Mode.choices, default=Mode.ACTIVE)
    muted_until = models.DateTimeField(_("muted until"), null=True, blank=True)

    scope_type = models.CharField(_("scope"), max_length=16, choices=ScopeType.choices)
    project = models.ForeignKey(
        Project, models.CASCADE, null=True, blank=True, related_name="automations", verbose_name=_("project")
    )
    registry = models.ForeignKey(
        Registry,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="automations",
        verbose_name=_("registry"),
    )
    collection = models.ForeignKey(
        Collection,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="automations",
        verbose_name=_("collection"),
    )
    team = models.ForeignKey(
        Team, models.CASCADE, null=True, blank=True, related_name="automations", verbose_name=_("team")
    )
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="automations",
        verbose_name=_("organization"),
    )
    # "project:3": the scope in one column, for one index over all kinds of scope.
    scope_key = models.CharField(max_length=32, editable=False)

    event_type = models.CharField(_("event"), max_length=64, choices=event_type_choices)
    routing_key = models.CharField(max_length=NAME_LENGTH, blank=True, editable=False)
    config = models.JSONField(_("condition"), default=dict, blank=True)

    # Seconds in which it fires once per run (R52); 0: every match; null: once ever per run.
    period = models.BigIntegerField(_("period"), null=True, blank=True, default=DAY)
    per_status = models.BooleanField(_("count each status alone"), default=False)

    armed_at = models.DateTimeField(_("armed"), editable=False)
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, related_name="+", editable=False, verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("automation")
        verbose_name_plural = _("automations")
        # Creation order is the order in which several that match are triggered (R1).
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=_scope_matches_its_column(), name="automation_scope_is_one"),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="automation_mode_known"),
            models.CheckConstraint(
                condition=Q(period__isnull=True) | Q(period__gte=0), name="automation_period_not_negative"
            ),
            models.UniqueConstraint(fields=["scope_key", "name"], name="automation_name_once_per_scope"),
        ]
        indexes = [
            models.Index(
                fields=["scope_key", "event_type", "routing_key"],
                condition=~Q(mode="disabled"),
                name="automation_candidate",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def scope(self) -> Project | Registry | Collection | Team | Organization:
        return getattr(self, self.scope_type)  # type: ignore[no-any-return]


class Action(models.Model):
    """What one automation sends when it fires; several are sent independently, in order."""

    automation = models.ForeignKey(
        Automation, models.CASCADE, related_name="actions", verbose_name=_("automation")
    )
    position = models.PositiveSmallIntegerField(_("position"), default=0, editable=False)
    type = models.CharField(_("type"), max_length=64, choices=action_type_choices)
    integration: models.ForeignKey[Integration | None, Integration | None] = models.ForeignKey(
        "Integration",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="actions",
        verbose_name=_("integration"),
    )
    config = models.JSONField(_("content"), default=dict, blank=True)

    class Meta:
        verbose_name = _("action")
        verbose_name_plural = _("actions")
        ordering = ["automation", "position"]
        constraints = [
            models.UniqueConstraint(fields=["automation", "position"], name="action_position_once")
        ]

    def __str__(self) -> str:
        return f"{self.get_type_display()} #{self.position + 1}"
