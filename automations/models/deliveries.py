from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from automations.models.history import Execution
from automations.models.rules import Action
from automations.models.targets import Integration
from runs import cause
from runs.names import NAME_LENGTH


class Outlet(models.Model):
    """What messages go out through: an integration's, or (without one) the installation's mail server.

    Its row is locked while a message is claimed or its result written, so that pace, number in flight and
    order are decided by one at a time. It is apart from the integration because it changes with every
    message.
    """

    integration = models.OneToOneField(
        Integration, models.CASCADE, null=True, related_name="outlet", verbose_name=_("integration")
    )
    # Nothing is sent before: by the rate; and by a receiver that does not answer, or asked for a pause.
    paced_until = models.DateTimeField(_("next one not before"), null=True)
    paused_until = models.DateTimeField(_("paused until"), null=True)
    # For which of these moments somebody has been told to come back.
    rung_for = models.DateTimeField(_("rung for"), null=True, editable=False)
    # How many may be in flight now: it grows with every answer, and is one again when none comes.
    window = models.PositiveSmallIntegerField(_("may be in flight"), default=1)
    # Tries without an answer, one after the other.
    silences = models.PositiveSmallIntegerField(_("tries without an answer"), default=0)
    failing_since = models.DateTimeField(_("failing since"), null=True)
    failures = models.PositiveIntegerField(_("failures since then"), default=0)

    class Meta:
        verbose_name = _("outlet")
        verbose_name_plural = _("outlets")
        constraints = [
            models.UniqueConstraint(Coalesce("integration", Value(0)), name="outlet_once_per_integration")
        ]

    def __str__(self) -> str:
        return str(self.integration or _("mail server"))


class DeliveryState(models.TextChoices):
    PENDING = "pending", _("Pending")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    HELD = "held", _("Held: its integration is disabled")
    SUPERSEDED = "superseded", _("Superseded by a later one")


UNSETTLED = (DeliveryState.PENDING, DeliveryState.HELD)


class Order(models.TextChoices):
    """In which order the messages of one action about one thing go out."""

    ANY = "any", _("Any: each as soon as it can")
    ORDERED = "ordered", _("One after the other, each waits for the one before it")
    LATEST_ONLY = "latest_only", _("Only the latest: what it overtakes is not sent")


def _new_webhook_id() -> str:
    return f"msg_{uuid.uuid4().hex}"


class Delivery(models.Model):
    """One message that must arrive. `webhook_id` and `body` are fixed when it is decided.

    It waits while `state` is pending and `next_at` has come; without `next_at` it waits for its turn
    behind another of the same `order_key`. A sender claims it by writing its own `lease`; results are
    written only where the lease is still that sender's.
    """

    execution = models.ForeignKey(
        Execution, models.CASCADE, related_name="deliveries", verbose_name=_("execution")
    )
    action = models.ForeignKey(Action, models.SET_NULL, null=True, related_name="+", verbose_name=_("action"))
    integration = models.ForeignKey(
        Integration,
        models.SET_NULL,
        null=True,
        related_name="deliveries",
        verbose_name=_("integration"),
    )
    type = models.CharField(_("action"), max_length=64)
    webhook_id = models.CharField(_("webhook id"), max_length=64, unique=True, default=_new_webhook_id)
    body = models.TextField(_("body"))
    state = models.CharField(
        _("state"), max_length=16, choices=DeliveryState.choices, default=DeliveryState.PENDING
    )
    attempt_count = models.PositiveSmallIntegerField(_("attempts"), default=0)
    # How many attempts of the present round were made: a redelivery begins a new round.
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_at = models.DateTimeField(_("next attempt"), null=True)
    lease = models.UUIDField(null=True, editable=False)
    order = models.CharField(_("order"), max_length=16, choices=Order.choices, default=Order.ANY)
    # Which messages wait for each other ("3/7/collection:5/production"), and their numbers in the feed.
    order_key = models.CharField(_("order key"), max_length=NAME_LENGTH, blank=True, editable=False)
    order_seq = models.BigIntegerField(_("order seq"), default=0, editable=False)
    # What a request that follows from this message is caused by.
    cause = models.CharField(_("cause"), max_length=cause.LENGTH, blank=True)
    created_at = models.DateTimeField(_("decided"))
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=DeliveryState.values), name="delivery_state_known")
        ]
        indexes = [
            models.Index(
                fields=["integration", "next_at", "id"],
                condition=Q(state="pending"),
                name="delivery_that_waits",
            ),
            models.Index(
                fields=["integration", "id"],
                condition=Q(state__in=["held", "failed"]),
                name="delivery_that_rests",
            ),
            models.Index(fields=["integration"], condition=Q(lease__isnull=False), name="delivery_in_flight"),
            models.Index(fields=["state", "-id"], name="delivery_newest_in_state"),
            models.Index(fields=["created_at", "id"], name="delivery_by_time"),
            models.Index(
                fields=["order_key", "order_seq"], condition=~Q(order_key=""), name="delivery_in_order"
            ),
            models.Index(
                fields=["order_key", "order_seq"],
                condition=Q(state__in=["pending", "held"]) & ~Q(order_key=""),
                name="delivery_waits_in_order",
            ),
        ]

    def __str__(self) -> str:
        return self.webhook_id


class Attempt(models.Model):
    """One try: what was sent (secrets redacted), what came back (first 16 kB), how long it took."""

    delivery = models.ForeignKey(
        Delivery, models.CASCADE, related_name="attempts", verbose_name=_("delivery")
    )
    number = models.PositiveSmallIntegerField(_("number"))
    started_at = models.DateTimeField(_("started"))
    duration = models.FloatField(_("duration in seconds"))
    request = models.JSONField(_("request"), default=dict)
    status_code = models.PositiveSmallIntegerField(_("status"), null=True)
    response = models.TextField(_("response"), blank=True)
    error = models.TextField(_("error"), blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["delivery", "number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="attempt_numbered")]

    def __str__(self) -> str:
        return f"#{self.number}: {self.status_code or self.error}"
