from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from runs.models.people import Team
from runs.names import SLUG_LENGTH, validate_path_name


class Project(models.Model):
    team = models.ForeignKey(Team, models.PROTECT, related_name="projects", verbose_name=_("team"))
    name = models.CharField(_("name"), max_length=SLUG_LENGTH, validators=[validate_path_name])
    description = models.TextField(_("description"), blank=True)
    rules_epoch = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="project_name_once_per_team")]

    def __str__(self) -> str:
        return f"{self.team.name}/{self.name}"
