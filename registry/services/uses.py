"""Write verbs for what runs read."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from registry.models import ArtifactVersion, Use, VersionState
from runs.models import Run


def use_version(run: Run, version: ArtifactVersion) -> tuple[Use, bool]:
    """Note that the run read the version. Returns (use, created): once noted stays noted once."""
    if version.state != VersionState.COMMITTED:
        raise ValidationError({"version": _("This version is not committed yet.")})
    return Use.objects.get_or_create(run=run, version=version)


def forget_use(run: Run, version: ArtifactVersion) -> bool:
    """Take the note back; False when there was none."""
    removed, _rows = Use.objects.filter(run=run, version=version).delete()
    return bool(removed)
