from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from runs.names import (
    NAME_LENGTH,
    SLUG_LENGTH,
    validate_name,
    validate_team_name,
    validate_time_zone,
)


class Role(models.TextChoices):
    """What a person may do in a team or a registry; each role includes the ones before it."""

    VIEWER = "viewer", _("Viewer")
    MEMBER = "member", _("Member")
    ADMIN = "admin", _("Admin")

    @property
    def and_above(self) -> list[Role]:
        ladder = list(Role)
        return ladder[ladder.index(self) :]


class User(AbstractUser):
    """A person, or the account behind a team's service key."""

    is_service = models.BooleanField(
        _("service account"), default=False, help_text=_("Made for a team's service key; cannot sign in.")
    )
    # What they read; goes with the person from browser to browser.
    language = models.CharField(
        _("language"),
        max_length=8,
        choices=settings.LANGUAGES,
        blank=True,
        default="",
        help_text=_("Empty: as the browser, or the program, asks for it."),
    )


class Organization(models.Model):
    """Holds teams and registries. One exists from the start and is the default everywhere."""

    name = models.CharField(_("name"), max_length=NAME_LENGTH, unique=True, validators=[validate_name])
    # Raised in the transaction of every rule change, so that caches of rules are exact.
    rules_epoch = models.BigIntegerField(default=0, editable=False)
    # Tripline's own, by which it measures itself: in nobody's lists, and nobody's default.
    is_internal = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_internal"], condition=Q(is_internal=True), name="organization_internal_is_one"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def default(cls) -> Organization:
        found = cls.objects.filter(is_internal=False).order_by("id").first()
        return found or cls.objects.get_or_create(name="default")[0]


class Team(models.Model):
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="teams", verbose_name=_("organization")
    )
    # Unique everywhere, not per organization: it is the first part of its pages' paths.
    name = models.CharField(_("name"), max_length=SLUG_LENGTH, unique=True, validators=[validate_team_name])
    # What its messages are written in.
    language = models.CharField(_("language"), max_length=8, choices=settings.LANGUAGES, default="en")
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="UTC", validators=[validate_time_zone]
    )
    rules_epoch = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    users = models.ManyToManyField(User, through="Member", related_name="teams")

    class Meta:
        verbose_name = _("team")
        verbose_name_plural = _("teams")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    team = models.ForeignKey(Team, models.CASCADE, related_name="members", verbose_name=_("team"))
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships", verbose_name=_("user"))
    role = models.CharField(_("role"), max_length=16, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="member_once_per_team"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="member_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.team} ({self.get_role_display()})"


class ApiKey(models.Model):
    """A bearer key. Only its SHA-256 is stored: 40 random alphanumerics need no slow hash."""

    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys", verbose_name=_("owner"))
    team = models.ForeignKey(
        Team,
        models.CASCADE,
        related_name="service_keys",
        null=True,
        blank=True,
        verbose_name=_("team"),
        help_text=_("Set for a service key: it belongs to the team, not to a person."),
    )
    name = models.CharField(_("name"), max_length=NAME_LENGTH, validators=[validate_name])
    prefix = models.CharField(_("begins with"), max_length=12, editable=False)
    digest = models.CharField(_("digest"), max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
