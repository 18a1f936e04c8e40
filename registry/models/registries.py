from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from runs.models import Organization, Role, User
from runs.names import SLUG_LENGTH, validate_path_name


class Visibility(models.TextChoices):
    ORGANIZATION = "organization", _("Everyone in the organization")
    RESTRICTED = "restricted", _("Members only")


class Registry(models.Model):
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="registries", verbose_name=_("organization")
    )
    name = models.CharField(_("name"), max_length=SLUG_LENGTH, validators=[validate_path_name])
    description = models.TextField(_("description"), blank=True)
    visibility = models.CharField(
        _("visible to"), max_length=16, choices=Visibility.choices, default=Visibility.ORGANIZATION
    )
    protected_aliases = models.JSONField(
        _("protected aliases"),
        default=list,
        blank=True,
        help_text=_("Only admins of the registry may move these."),
    )
    rules_epoch = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    users = models.ManyToManyField(User, through="RegistryMember", related_name="registries")

    class Meta:
        verbose_name = _("registry")
        verbose_name_plural = _("registries")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="registry_name_once"),
            models.CheckConstraint(
                condition=Q(visibility__in=Visibility.values), name="registry_visibility_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RegistryMember(models.Model):
    registry = models.ForeignKey(Registry, models.CASCADE, related_name="members", verbose_name=_("registry"))
    user = models.ForeignKey(User, models.CASCADE, related_name="+", verbose_name=_("user"))
    role = models.CharField(_("role"), max_length=16, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        verbose_name = _("registry member")
        verbose_name_plural = _("registry members")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["registry", "user"], name="registry_member_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="registry_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.registry} ({self.get_role_display()})"
