from __future__ import annotations

import math

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from runs import cause
from runs.models.projects import Project
from runs.models.runs import Run, RunStatus
from runs.names import NAME_LENGTH


class Source(models.TextChoices):
    HISTORY = "history", _("History")
    SYSTEM = "system", _("System")


class MetricBatch(models.Model):
    """One client call, with what a rule must read as of then; its points are in `MetricChunk`."""

    run = models.ForeignKey(
        Run, models.CASCADE, related_name="batches", db_index=False, verbose_name=_("run")
    )
    seq = models.BigIntegerField(_("number"))
    source = models.CharField(_("source"), max_length=8, choices=Source.choices)
    # The client's Idempotency-Key; dropped after 8 days.
    key = models.CharField(  # noqa: DJ001  (null is "none given", which is not unique)
        max_length=NAME_LENGTH, null=True, editable=False
    )
    count = models.IntegerField(_("values"))
    # The metrics in it, so that rules are found without reading the chunks.
    names = models.JSONField(default=list, editable=False)
    received_at = models.DateTimeField(_("accepted"))
    cause = models.CharField(_("cause"), max_length=cause.LENGTH, blank=True)
    run_status = models.CharField(_("run status"), max_length=16, choices=RunStatus.choices)
    run_name = models.CharField(_("run name"), max_length=NAME_LENGTH)
    run_user = models.CharField(_("run user"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("metric batch")
        ordering = ["run", "seq"]
        verbose_name_plural = _("metric batches")
        constraints = [
            models.UniqueConstraint(fields=["run", "seq"], name="batch_numbered"),
            models.UniqueConstraint(
                fields=["run", "key"], condition=Q(key__isnull=False), name="batch_key_once_per_run"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} #{self.seq} ({self.count})"


class MetricChunk(models.Model):
    """The values of one metric in one batch, as packed little-endian arrays of equal length.

    `steps` int64, `timestamps` float64 (seconds since 1970), `values` float64. `first_index` is the
    ordinal of the first value in the series (run, source, name), `finite_before` the number of finite
    values before it. Only `runs.metrics` reads or writes these rows, and later joins small ones that
    follow each other: such a row has the first batch's number and acceptance.
    """

    run = models.ForeignKey(Run, models.CASCADE, related_name="+", db_index=False, verbose_name=_("run"))
    source = models.CharField(_("source"), max_length=8, choices=Source.choices)
    name = models.CharField(_("name"), max_length=NAME_LENGTH)
    seq = models.BigIntegerField(_("seq"))
    first_index = models.BigIntegerField(_("first index"))
    finite_before = models.BigIntegerField(_("finite before"))
    count = models.IntegerField(_("count"))
    # How many of them are NaN or infinite.
    nonfinite = models.IntegerField(_("nonfinite"))
    min_step = models.BigIntegerField(_("min step"))
    max_step = models.BigIntegerField(_("max step"))
    received_at = models.DateTimeField(_("received at"))
    # Of a row that was joined: when its last batch was accepted, and where each of its batches begins.
    last_received_at = models.DateTimeField(_("last received at"), null=True)
    parts = models.BinaryField(null=True)
    steps = models.BinaryField()
    timestamps = models.BinaryField()
    values = models.BinaryField()

    class Meta:
        verbose_name = _("metric chunk")
        verbose_name_plural = _("metric chunks")
        constraints = [
            models.UniqueConstraint(fields=["run", "source", "name", "seq"], name="chunk_once_per_batch"),
            models.CheckConstraint(condition=Q(count__gt=0), name="chunk_not_empty"),
        ]
        indexes = [
            models.Index(fields=["run", "seq"], condition=Q(nonfinite__gt=0), name="chunk_with_nonfinite")
        ]

    def __str__(self) -> str:
        return f"{self.name} #{self.seq} ({self.count})"


class MetricSummary(models.Model):
    """The present state of one series, kept under the run's lane lock.

    Numbers are finite; where the last value is not, `last_nonfinite` names it (SQLite stores NaN as
    NULL). `minimum` and `maximum` are null until a finite value came.
    """

    run = models.ForeignKey(
        Run, models.CASCADE, related_name="summaries", db_index=False, verbose_name=_("run")
    )
    # The run's: the newest runs of a project that logged a metric are found however many others did.
    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False, editable=False)
    source = models.CharField(_("source"), max_length=8, choices=Source.choices)
    name = models.CharField(_("metric"), max_length=NAME_LENGTH)
    count = models.BigIntegerField(_("values"))
    finite_count = models.BigIntegerField(_("finite values"))
    last_step = models.BigIntegerField(_("last step"))
    last_finite = models.FloatField(_("last finite"), null=True)
    last_nonfinite = models.CharField(_("last nonfinite"), max_length=9, blank=True)
    minimum = models.FloatField(_("minimum"), null=True)
    maximum = models.FloatField(_("maximum"), null=True)
    # When its last batch was accepted.
    received_at = models.DateTimeField(_("last accepted"))

    class Meta:
        verbose_name = _("metric summary")
        ordering = ["run", "source", "name"]
        verbose_name_plural = _("metric summaries")
        constraints = [
            models.UniqueConstraint(fields=["run", "source", "name"], name="summary_once_per_series")
        ]
        indexes = [models.Index(fields=["project", "name", "source", "run"], name="summary_in_project")]

    def __str__(self) -> str:
        return f"{self.name} = {self.last}"

    @property
    def last(self) -> float | str | None:
        """The latest value: a finite float, or "NaN", "Infinity", "-Infinity"."""
        return self.last_nonfinite or self.last_finite


def spelled(value: float) -> float | str:
    """A float as JSON can carry it: non-finite ones as the contract's strings."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
