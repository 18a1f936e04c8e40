from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from automations.models.rules import Automation
from registry.models import ArtifactVersion, Collection, Registry
from runs import cause
from runs.models import Organization, Project, Run, Team
from runs.names import NAME_LENGTH


class Feed(models.Model):
    """The last number given out in an organization's feed; its row is locked last of all locks."""

    organization = models.OneToOneField(
        Organization, models.CASCADE, primary_key=True, related_name="+", verbose_name=_("organization")
    )
    head = models.BigIntegerField(_("head"), default=0)

    class Meta:
        verbose_name = _("feed")
        verbose_name_plural = _("feeds")

    def __str__(self) -> str:
        return f"{self.organization_id}: {self.head}"


class Event(models.Model):
    """Something observed, written in the transaction of the change itself.

    `data` holds what must be read as of then: names, ids, labels, and in `scopes` every scope the event
    belongs to ("project:3"). The links beside it may become null; `data` survives them. `decided_at`
    null means that it waits; events of a run wait in its lane, in order, the others by themselves.
    """

    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        db_index=False,
        related_name="events",
        verbose_name=_("organization"),
    )
    sequence = models.BigIntegerField(_("number"))
    type = models.CharField(_("event"), max_length=64)
    # The change row it came from ("artifact:41"), null for a decision about metrics.
    origin = models.CharField(  # noqa: DJ001  (null is not unique)
        _("origin"), max_length=64, null=True, unique=True, editable=False
    )
    team = models.ForeignKey(Team, models.SET_NULL, null=True, related_name="+", verbose_name=_("team"))
    project = models.ForeignKey(
        Project,
        models.SET_NULL,
        null=True,
        db_index=False,
        related_name="+",
        verbose_name=_("project"),
    )
    registry = models.ForeignKey(
        Registry,
        models.SET_NULL,
        null=True,
        db_index=False,
        related_name="+",
        verbose_name=_("registry"),
    )
    collection = models.ForeignKey(
        Collection, models.SET_NULL, null=True, related_name="events", verbose_name=_("collection")
    )
    run = models.ForeignKey(Run, models.SET_NULL, null=True, related_name="events", verbose_name=_("run"))
    version = models.ForeignKey(
        ArtifactVersion, models.SET_NULL, null=True, related_name="events", verbose_name=_("version")
    )
    data = models.JSONField(_("data"), default=dict)
    # The execution whose message led to it, and how deep (`runs.cause`); "" for what people did.
    cause = models.CharField(_("caused by"), max_length=cause.LENGTH, blank=True)
    received_at = models.DateTimeField(_("accepted"))
    decided_at = models.DateTimeField(_("decided"), null=True)
    ring_at = models.DateTimeField(_("ring at"), null=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "sequence"], name="event_numbered_in_feed")
        ]
        indexes = [
            models.Index(fields=["ring_at"], condition=Q(decided_at__isnull=True), name="event_that_waits"),
            models.Index(
                fields=["collection", "sequence"],
                condition=Q(decided_at__isnull=True),
                name="event_waits_in_collection",
            ),
            # The feed, narrowed: by what is rare in it as quickly as by what is not.
            models.Index(fields=["organization", "type", "sequence"], name="event_of_type"),
            models.Index(
                fields=["project", "sequence"],
                condition=Q(project__isnull=False),
                name="event_in_project",
            ),
            models.Index(
                fields=["registry", "sequence"],
                condition=Q(registry__isnull=False),
                name="event_in_registry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.sequence}"


class ExecutionState(models.TextChoices):
    PENDING = "pending", _("Pending")
    FINISHED = "finished", _("Finished")
    FAILED = "failed", _("Failed")
    SKIPPED = "skipped", _("Skipped")
    SHADOW = "shadow", _("Shadow")


class Execution(models.Model):
    """One decision to fire, or the matches that the daily limit held back.

    `(automation, dedup_key)` is unique: whoever decides the same thing a second time changes nothing.
    Names are copied, so that the row still speaks when what it names is gone.
    """

    automation = models.ForeignKey(
        Automation,
        models.SET_NULL,
        null=True,
        db_index=False,
        related_name="executions",
        verbose_name=_("automation"),
    )
    automation_name = models.CharField(_("automation"), max_length=NAME_LENGTH)
    event_type = models.CharField(_("event"), max_length=64)
    event = models.ForeignKey(
        Event, models.SET_NULL, null=True, related_name="executions", verbose_name=_("event")
    )
    dedup_key = models.CharField(max_length=NAME_LENGTH, editable=False)
    state = models.CharField(_("state"), max_length=16, choices=ExecutionState.choices)
    # {"code": …, "data": {…}}: the sentence is rendered for the reader.
    explanation = models.JSONField(_("why"), default=dict)
    count = models.PositiveIntegerField(_("matches"), default=1)
    # Fired by hand: it counts for no limit.
    is_test = models.BooleanField(_("test"), default=False)
    # The event's data and the actions, as they were: kept when the event is pruned.
    snapshot = models.JSONField(_("snapshot"), default=dict)
    organization = models.ForeignKey(
        Organization, models.SET_NULL, null=True, related_name="+", verbose_name=_("organization")
    )
    team = models.ForeignKey(
        Team, models.SET_NULL, null=True, db_index=False, related_name="+", verbose_name=_("team")
    )
    registry = models.ForeignKey(
        Registry,
        models.SET_NULL,
        null=True,
        db_index=False,
        related_name="+",
        verbose_name=_("registry"),
    )
    run = models.ForeignKey(
        Run, models.SET_NULL, null=True, db_index=False, related_name="executions", verbose_name=_("run")
    )
    version = models.ForeignKey(
        ArtifactVersion,
        models.SET_NULL,
        null=True,
        db_index=False,
        related_name="executions",
        verbose_name=_("version"),
    )
    created_at = models.DateTimeField(_("decided"))
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("execution")
        verbose_name_plural = _("executions")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["automation", "dedup_key"], name="decided_once"),
            models.CheckConstraint(
                condition=Q(state__in=ExecutionState.values), name="execution_state_known"
            ),
        ]
        indexes = [
            models.Index(fields=["team", "-id"], name="execution_newest_in_team"),
            models.Index(fields=["registry", "-id"], name="execution_newest_in_registry"),
            models.Index(fields=["automation", "-id"], name="execution_newest_of_rule"),
            models.Index(fields=["run", "-id"], name="execution_newest_of_run"),
            models.Index(
                fields=["version", "-id"],
                condition=Q(version__isnull=False),
                name="execution_newest_of_version",
            ),
            models.Index(fields=["state", "-id"], name="execution_newest_in_state"),
            models.Index(fields=["created_at", "id"], name="execution_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.automation_name} ({self.get_state_display()})"


class RunLimit(models.Model):
    """When an automation last fired for a run (R52); the row is the lock of that decision.

    `status` is "" unless the automation counts each status alone.
    """

    automation = models.ForeignKey(Automation, models.CASCADE, related_name="+", verbose_name=_("automation"))
    run = models.ForeignKey(Run, models.CASCADE, related_name="+", verbose_name=_("run"))
    status = models.CharField(_("status"), max_length=16, blank=True)
    fired_at = models.DateTimeField(_("fired at"))

    class Meta:
        verbose_name = _("run limit")
        verbose_name_plural = _("run limits")
        constraints = [
            models.UniqueConstraint(fields=["automation", "run", "status"], name="limit_once_per_run")
        ]

    def __str__(self) -> str:
        return f"{self.automation_id}/{self.run_id}: {self.fired_at:%Y-%m-%d %H:%M:%S}"
