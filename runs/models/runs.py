from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runs.models.people import User
from runs.models.projects import Project
from runs.names import NAME_LENGTH, SLUG_LENGTH, validate_name, validate_path_name


class RunStatus(models.TextChoices):
    PENDING = "pending", _("Pending")
    RUNNING = "running", _("Running")
    FINISHED = "finished", _("Finished")
    FAILED = "failed", _("Failed")
    CRASHED = "crashed", _("Crashed")
    KILLED = "killed", _("Killed")
    PREEMPTING = "preempting", _("Preempting")
    PREEMPTED = "preempted", _("Preempted")

    @property
    def is_over(self) -> bool:
        return self in {RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CRASHED, RunStatus.KILLED}


class Run(models.Model):
    project = models.ForeignKey(
        Project, models.PROTECT, db_index=False, related_name="runs", verbose_name=_("project")
    )
    run_id = models.CharField(_("run id"), max_length=SLUG_LENGTH, validators=[validate_path_name])
    name = models.CharField(_("name"), max_length=NAME_LENGTH, validators=[validate_name])
    status = models.CharField(_("status"), max_length=16, choices=RunStatus.choices)
    config = models.JSONField(_("config"), default=dict, blank=True)
    user = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="runs", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    # Null for a run that never sent one: such a run can be silent but cannot crash.
    heartbeat_at = models.DateTimeField(_("last heartbeat"), null=True, blank=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "run_id"], name="run_id_once_per_project"),
            models.CheckConstraint(condition=Q(status__in=RunStatus.values), name="run_status_known"),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="run_newest_in_project"),
            models.Index(fields=["created_at", "id"], name="run_by_time"),
            models.Index(fields=["name", "id"], name="run_by_name"),
            models.Index(fields=["status", "id"], name="run_by_status"),
            models.Index(fields=["project", "created_at", "id"], name="run_in_project_by_time"),
            models.Index(fields=["project", "name", "id"], name="run_in_project_by_name"),
            models.Index(fields=["project", "status", "id"], name="run_in_project_by_status"),
            models.Index(
                fields=["heartbeat_at"],
                condition=Q(status="running", heartbeat_at__isnull=False),
                name="run_that_may_crash",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.run_id})"

    @property
    def path(self) -> str:
        """Where the run's page is, from the root of the installation."""
        return f"/{self.project.team.name}/{self.project.name}/runs/{self.run_id}"

    @property
    def silent_since(self) -> datetime | None:
        """When a running run that sends no heartbeats last said something, if that is long ago.

        Nobody can tell whether it crashed (semantics, section 3).
        """
        heard = self.lane.received_at
        if self.status != RunStatus.RUNNING or self.heartbeat_at is not None or heard is None:
            return None
        silence = (timezone.now() - heard).total_seconds()
        return heard if silence > settings.TRIPLINE_CRASH_AFTER else None

    @property
    def page(self) -> str:
        """The same as a link on a page."""
        return f"{quote(self.path)}/"

    @property
    def url(self) -> str:
        return settings.TRIPLINE_BASE_URL + quote(self.path)


class Lane(models.Model):
    """The order of what happened to one run, and how far it has been decided.

    Every status change and metric batch takes its number by raising `head` under this row's lock, so
    numbers are committed in order (an auto-increment id is not). `cursor < head` is the queue: numbers
    up to `cursor` are decided. `ring_at` is when the sweep next rings for a lane left behind. Chunks up to
    `compacted` have been joined where they were small.
    """

    run = models.OneToOneField(
        Run, models.CASCADE, primary_key=True, related_name="lane", verbose_name=_("run")
    )
    head = models.BigIntegerField(_("head"), default=0)
    cursor = models.BigIntegerField(_("cursor"), default=0)
    compacted = models.BigIntegerField(_("compacted"), default=0)
    received_at = models.DateTimeField(_("received at"), null=True)
    ring_at = models.DateTimeField(_("ring at"), null=True)

    class Meta:
        verbose_name = _("lane")
        verbose_name_plural = _("lanes")
        constraints = [
            models.CheckConstraint(
                condition=Q(cursor__gte=0, cursor__lte=F("head")), name="lane_cursor_within_head"
            )
        ]
        indexes = [
            models.Index(fields=["ring_at"], condition=Q(cursor__lt=F("head")), name="lane_that_waits")
        ]

    def __str__(self) -> str:
        return f"{self.run_id}: {self.cursor}/{self.head}"


class RunStatusChange(models.Model):
    """One change of a run's status, with what a rule must read as of then (R15–R17, R48, R49)."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="status_changes", verbose_name=_("run"))
    seq = models.BigIntegerField(_("number"))
    old_status = models.CharField(_("from"), max_length=16, blank=True, choices=RunStatus.choices)
    status = models.CharField(_("to"), max_length=16, choices=RunStatus.choices)
    received_at = models.DateTimeField(_("accepted"))
    actor = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", verbose_name=_("by"))
    run_name = models.CharField(_("run name"), max_length=NAME_LENGTH)
    run_user = models.CharField(_("run user"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("run status change")
        verbose_name_plural = _("run status changes")
        ordering = ["run", "seq"]
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="status_change_numbered")]

    def __str__(self) -> str:
        return f"{self.get_old_status_display() or '–'} → {self.get_status_display()}"


class SweepClock(models.Model):
    """When the sweep last ran, and since when it has run without a pause (one row).

    A server's own downtime crashes nobody: silence is counted from `started_at` at the earliest.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    started_at = models.DateTimeField(_("started at"))
    swept_at = models.DateTimeField(_("swept at"))

    class Meta:
        verbose_name = _("sweep clock")
        verbose_name_plural = _("sweep clocks")
        constraints = [models.CheckConstraint(condition=Q(id=1), name="sweep_clock_is_one_row")]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M:%S}"
