from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from registry.models.collections import Collection
from registry.models.versions import ArtifactVersion
from runs.models import User
from runs.names import SLUG_LENGTH


class ChangeKind(models.TextChoices):
    """What can happen to an artifact; the keys are those of the events (semantics, section 2)."""

    COLLECTION_CREATED = "collection_created", _("collection created")
    COLLECTION_TAG_ADDED = "collection_tag_added", _("collection tag added")
    COLLECTION_TAG_REMOVED = "collection_tag_removed", _("collection tag removed")
    VERSION_ADDED = "version_added", _("version added")
    VERSION_LINKED = "version_linked", _("version linked")
    VERSION_UNLINKED = "version_unlinked", _("version unlinked")
    ALIAS_ADDED = "alias_added", _("alias added")
    ALIAS_REMOVED = "alias_removed", _("alias removed")
    TAG_ADDED = "tag_added", _("tag added")
    TAG_REMOVED = "tag_removed", _("tag removed")


class ArtifactChange(models.Model):
    """One thing that happened to an artifact, inserted in the transaction that did it.

    The tables beside this one say what *is*; this one says what *happened*, removals too, so that one
    signal (`post_save`, created) tells everybody. `sequence` counts the changes of one collection; a
    version's tags are counted in the collection it was made in. `previous` is the version an alias
    moved away from (R11).
    """

    kind = models.CharField(_("what"), max_length=32, choices=ChangeKind.choices)
    collection = models.ForeignKey(
        Collection, models.CASCADE, related_name="changes", verbose_name=_("collection")
    )
    sequence = models.BigIntegerField(_("number"))
    version = models.ForeignKey(
        ArtifactVersion, models.CASCADE, null=True, related_name="changes", verbose_name=_("version")
    )
    previous = models.ForeignKey(
        ArtifactVersion, models.SET_NULL, null=True, related_name="+", verbose_name=_("moved from")
    )
    # The alias or the tag, "" where the change has none.
    label = models.CharField(_("alias or tag"), max_length=SLUG_LENGTH, blank=True)
    # The version's aliases in the collection after the change; those it had where it was unlinked.
    aliases = models.JSONField(_("aliases"), default=list)
    received_at = models.DateTimeField(_("accepted"))
    actor = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", verbose_name=_("by"))

    class Meta:
        verbose_name = _("artifact change")
        verbose_name_plural = _("artifact changes")
        ordering = ["collection", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["collection", "sequence"], name="artifact_change_numbered")
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.label}".strip()
