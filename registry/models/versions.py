from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from registry.names import validate_tag
from runs.models import Run, User
from runs.names import NAME_LENGTH, SLUG_LENGTH


class VersionState(models.TextChoices):
    PENDING = "pending", _("Pending")
    COMMITTED = "committed", _("Committed")


class ArtifactVersion(models.Model):
    """Content that does not change once committed: digest, files, metadata, and the run that made it.

    `home` is the project collection it was made in; other collections hold it by `Membership`.
    """

    home = models.ForeignKey(
        "Collection", models.PROTECT, related_name="made_versions", verbose_name=_("made in")
    )
    run = models.ForeignKey(
        Run, models.SET_NULL, null=True, blank=True, related_name="versions", verbose_name=_("run")
    )
    digest = models.CharField(_("digest"), max_length=SLUG_LENGTH, blank=True)
    description = models.TextField(_("description"), blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    state = models.CharField(
        _("state"), max_length=16, choices=VersionState.choices, default=VersionState.PENDING
    )
    size = models.BigIntegerField(_("size in bytes"), default=0)
    # Aliases and tags asked for before the commit, applied by it.
    labels_on_commit = models.JSONField(_("labels on commit"), default=dict, editable=False)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", verbose_name=_("by"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    committed_at = models.DateTimeField(_("committed"), null=True, blank=True)

    class Meta:
        verbose_name = _("artifact version")
        verbose_name_plural = _("artifact versions")
        ordering = ["-id"]
        constraints = [
            # The same content again is the same version (R8); content of unknown digest is its own.
            models.UniqueConstraint(
                fields=["home", "digest"], condition=~Q(digest=""), name="same_digest_same_version"
            ),
            models.CheckConstraint(condition=Q(size__gte=0), name="version_size_not_negative"),
        ]
        indexes = [
            models.Index(fields=["digest"], name="version_by_digest"),
            models.Index(fields=["state", "-id"], name="version_newest_in_state"),
            models.Index(fields=["created_at", "id"], name="version_by_time"),
            models.Index(fields=["size", "id"], name="version_by_size"),
        ]

    def __str__(self) -> str:
        return f"{self.home.name} #{self.pk}"


class Use(models.Model):
    """A run read this version: what it was made from. (What a run made is `ArtifactVersion.run`.)"""

    run = models.ForeignKey(Run, models.CASCADE, related_name="uses", db_index=False, verbose_name=_("run"))
    version = models.ForeignKey(
        ArtifactVersion, models.CASCADE, related_name="uses", verbose_name=_("version")
    )
    created_at = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        verbose_name = _("use of a version")
        verbose_name_plural = _("uses of versions")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["run", "version"], name="used_once_by_a_run")]

    def __str__(self) -> str:
        return f"{self.run} · {self.version}"


class VersionTag(models.Model):
    """A tag belongs to the version, in every collection that holds it."""

    version = models.ForeignKey(
        ArtifactVersion, models.CASCADE, related_name="tags", verbose_name=_("version")
    )
    name = models.CharField(_("tag"), max_length=SLUG_LENGTH, validators=[validate_tag])

    class Meta:
        verbose_name = _("version tag")
        verbose_name_plural = _("version tags")
        ordering = ["version", "name"]
        constraints = [models.UniqueConstraint(fields=["version", "name"], name="version_tag_once")]
        indexes = [models.Index(fields=["name", "version"], name="version_by_tag")]

    def __str__(self) -> str:
        return self.name


class ArtifactFile(models.Model):
    """One file of a version. `path` is the client's; where the bytes lie is the storage's business."""

    version = models.ForeignKey(
        ArtifactVersion, models.CASCADE, related_name="files", verbose_name=_("version")
    )
    path = models.CharField(_("path"), max_length=4 * NAME_LENGTH)
    size = models.BigIntegerField(_("size in bytes"))
    digest = models.CharField(_("SHA-256"), max_length=64)
    content = models.FileField(_("content"), upload_to="artifacts/%Y/%m", max_length=NAME_LENGTH)

    class Meta:
        verbose_name = _("artifact file")
        verbose_name_plural = _("artifact files")
        ordering = ["version", "path"]
        constraints = [models.UniqueConstraint(fields=["version", "path"], name="file_path_once")]

    def __str__(self) -> str:
        return self.path
