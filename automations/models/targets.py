from __future__ import annotations

import secrets

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from automations import disabling
from automations.actions.signing import Verdict
from runs.models import Team
from runs.names import NAME_LENGTH, validate_name

_secret_name = RegexValidator(
    r"\A[A-Za-z_][A-Za-z0-9_]*\Z", _("A secret's name holds letters, digits and _, and no digit first.")
)


def integration_type_choices() -> list[tuple[str, str]]:
    from automations.actions.base import ACTIONS

    return [(key, label) for key, label in ACTIONS.choices() if ACTIONS[key].integration_form]


class Secret(models.Model):
    """A value that is encrypted here and nowhere shown again."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="secrets", verbose_name=_("team"))
    name = models.CharField(_("name"), max_length=128, validators=[_secret_name])
    ciphertext = models.TextField(_("ciphertext"), editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("secret")
        verbose_name_plural = _("secrets")
        ordering = ["team", "name"]
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="secret_name_once_per_team")]

    def __str__(self) -> str:
        return self.name


class Integration(models.Model):
    """Where actions are sent. The URL often holds a credential: it is encrypted, its host shown."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="integrations", verbose_name=_("team"))
    type = models.CharField(_("type"), max_length=64, choices=integration_type_choices)
    name = models.CharField(_("name"), max_length=NAME_LENGTH, validators=[validate_name])
    url_ciphertext = models.TextField(_("url ciphertext"), blank=True, editable=False)
    host = models.CharField(_("host"), max_length=NAME_LENGTH, blank=True, editable=False)
    access_token = models.ForeignKey(
        Secret, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("access token")
    )
    signing_secret = models.ForeignKey(
        Secret, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("signing secret")
    )
    signing_secret_previous = models.ForeignKey(
        Secret,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("previous signing secret"),
        help_text=_("During a rotation messages carry a signature of each."),
    )
    timeout = models.PositiveSmallIntegerField(
        _("timeout in seconds"), default=10, validators=[MinValueValidator(5), MaxValueValidator(30)]
    )
    concurrency = models.PositiveSmallIntegerField(
        _("messages in flight"),
        default=4,
        validators=[MinValueValidator(1), MaxValueValidator(8)],
        help_text=_("How many requests may wait for its answer at the same time, 1 to 8."),
    )
    rate = models.FloatField(
        _("messages per second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01), MaxValueValidator(1000)],
        help_text=_("At most; empty: no limit (for Slack one per second, what comes faster is merged)."),
    )
    disabled_at = models.DateTimeField(_("disabled"), null=True, blank=True)
    # A code that `automations.disabling` knows.
    disabled_reason = models.CharField(_("why disabled"), max_length=NAME_LENGTH, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("integration")
        verbose_name_plural = _("integrations")
        ordering = ["team", "name"]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="integration_name_once_per_team"),
            models.CheckConstraint(
                condition=models.Q(timeout__gte=5, timeout__lte=30), name="integration_timeout_in_bounds"
            ),
            models.CheckConstraint(
                condition=models.Q(concurrency__gte=1, concurrency__lte=8),
                name="integration_concurrency_in_bounds",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def healthy(self) -> bool:
        return self.disabled_at is None

    @property
    def why_disabled(self) -> str:
        """In the active language."""
        return disabling.said(self.disabled_reason)


def _new_token() -> str:
    return secrets.token_urlsafe(24)


class Inbox(models.Model):
    """A receiver inside Tripline, so that a first webhook can be seen without any other server."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="inboxes", verbose_name=_("team"))
    name = models.CharField(_("name"), max_length=NAME_LENGTH, validators=[validate_name])
    token = models.CharField(_("token"), max_length=64, unique=True, default=_new_token, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("inbox")
        verbose_name_plural = _("inboxes")
        ordering = ["team", "name"]
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="inbox_name_once_per_team")]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        return f"{settings.TRIPLINE_BASE_URL}/inbox/{self.token}/"


_VERDICTS = [
    (Verdict.VALID.value, _("valid")),
    (Verdict.INVALID.value, _("invalid")),
    (Verdict.UNSIGNED.value, _("unsigned")),
    (Verdict.STALE.value, _("stale")),
    (Verdict.UNCHECKED.value, _("unchecked")),
]


class InboxRequest(models.Model):
    inbox = models.ForeignKey(Inbox, models.CASCADE, related_name="requests", verbose_name=_("inbox"))
    received_at = models.DateTimeField(_("received"))
    headers = models.JSONField(_("headers"))
    body = models.TextField(_("body"))
    verdict = models.CharField(_("signature"), max_length=16, choices=_VERDICTS)

    class Meta:
        verbose_name = _("inbox request")
        verbose_name_plural = _("inbox requests")
        ordering = ["-id"]
        indexes = [models.Index(fields=["inbox", "-id"], name="inbox_newest")]

    def __str__(self) -> str:
        return f"{self.inbox} {self.received_at:%Y-%m-%d %H:%M:%S}"
