from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from runs.models import User


class BacktestState(models.TextChoices):
    PENDING = "pending", _("Waiting")
    RUNNING = "running", _("Running")
    FINISHED = "finished", _("Finished")
    CANCELLED = "cancelled", _("Cancelled")
    FAILED = "failed", _("Failed")


UNFINISHED = (BacktestState.PENDING, BacktestState.RUNNING)


class Backtest(models.Model):
    """A rule that is being tried on stored runs, for one person, outside of their request.

    `draft` is the rule and the span (`automations.backtests.drafts`), `result` what is known so far
    (`automations.backtests.report`). A worker that has it holds the lease and says so again and again at
    `beat_at`; what it says without the lease is not written. Kept for a day.
    """

    created_by = models.ForeignKey(User, models.CASCADE, related_name="+", verbose_name=_("by"))
    draft = models.JSONField(editable=False)
    state = models.CharField(
        _("state"), max_length=16, choices=BacktestState.choices, default=BacktestState.PENDING
    )
    done = models.PositiveIntegerField(_("runs looked at"), default=0)
    total = models.PositiveIntegerField(_("runs"), default=0)
    result = models.JSONField(default=dict, editable=False)
    problem = models.TextField(_("problem"), blank=True)
    lease = models.UUIDField(null=True, editable=False)
    beat_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"))
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("backtest")
        verbose_name_plural = _("backtests")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=BacktestState.values), name="backtest_state_known")
        ]
        indexes = [
            models.Index(
                fields=["state", "created_at"],
                condition=Q(state__in=UNFINISHED),
                name="backtest_unfinished",
            )
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.get_state_display()}: {self.done}/{self.total}"
