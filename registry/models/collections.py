from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from registry.models.registries import Registry
from registry.models.versions import ArtifactVersion
from registry.names import validate_alias, validate_tag
from runs.models import Project, User
from runs.names import SLUG_LENGTH, validate_path_name


class Collection(models.Model):
    """A named sequence of versions: in a project where they are made, or in a registry by links.

    `next_index` gives out v0, v1, …; `sequence` numbers every change in the collection. Both are
    raised under this row's lock.
    """

    project = models.ForeignKey(
        Project,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="collections",
        verbose_name=_("project"),
    )
    registry = models.ForeignKey(
        Registry,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="collections",
        verbose_name=_("registry"),
    )
    name = models.CharField(_("name"), max_length=SLUG_LENGTH, validators=[validate_path_name])
    type = models.CharField(_("type"), max_length=SLUG_LENGTH, default="model")
    description = models.TextField(_("description"), blank=True)
    next_index = models.IntegerField(_("next index"), default=0, editable=False)
    sequence = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)
    versions = models.ManyToManyField(ArtifactVersion, through="Membership", related_name="collections")

    class Meta:
        verbose_name = _("collection")
        verbose_name_plural = _("collections")
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(project__isnull=True, registry__isnull=False)
                | Q(project__isnull=False, registry__isnull=True),
                name="collection_in_project_or_registry",
            ),
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=Q(deleted_at__isnull=True, project__isnull=False),
                name="collection_name_once_per_project",
            ),
            models.UniqueConstraint(
                fields=["registry", "name"],
                condition=Q(deleted_at__isnull=True, registry__isnull=False),
                name="collection_name_once_per_registry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project or self.registry}/{self.name}"


class Membership(models.Model):
    """A version's place in a collection: its own number there."""

    collection = models.ForeignKey(
        Collection, models.CASCADE, related_name="memberships", verbose_name=_("collection")
    )
    version = models.ForeignKey(
        ArtifactVersion, models.CASCADE, related_name="memberships", verbose_name=_("version")
    )
    index = models.IntegerField(_("number"))
    linked_at = models.DateTimeField(_("since"))
    linked_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", verbose_name=_("by"))

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        ordering = ["collection", "-index"]
        constraints = [
            models.UniqueConstraint(fields=["collection", "index"], name="version_number_once"),
            models.UniqueConstraint(fields=["collection", "version"], name="version_once_per_collection"),
        ]

    def __str__(self) -> str:
        return f"{self.collection}:v{self.index}"


class Alias(models.Model):
    """In one collection an alias sits on one version (R11)."""

    collection = models.ForeignKey(
        Collection, models.CASCADE, related_name="aliases", verbose_name=_("collection")
    )
    version = models.ForeignKey(
        ArtifactVersion, models.CASCADE, related_name="aliases", verbose_name=_("version")
    )
    name = models.CharField(_("alias"), max_length=SLUG_LENGTH, validators=[validate_alias])

    class Meta:
        verbose_name = _("alias")
        verbose_name_plural = _("aliases")
        ordering = ["collection", "name"]
        constraints = [models.UniqueConstraint(fields=["collection", "name"], name="alias_on_one_version")]

    def __str__(self) -> str:
        return self.name


class CollectionTag(models.Model):
    collection = models.ForeignKey(
        Collection, models.CASCADE, related_name="tags", verbose_name=_("collection")
    )
    name = models.CharField(_("tag"), max_length=SLUG_LENGTH, validators=[validate_tag])

    class Meta:
        verbose_name = _("collection tag")
        verbose_name_plural = _("collection tags")
        ordering = ["collection", "name"]
        constraints = [models.UniqueConstraint(fields=["collection", "name"], name="collection_tag_once")]
        indexes = [models.Index(fields=["name", "collection"], name="collection_by_tag")]

    def __str__(self) -> str:
        return self.name
