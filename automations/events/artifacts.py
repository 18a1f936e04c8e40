from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from automations import regex
from automations.events.base import EVENTS, ArtifactEventType, Config
from automations.forms import ConfigForm, PatternField
from automations.verdicts import Reason, Verdict


class AliasForm(ConfigForm):
    alias = PatternField(label=_("Alias regex"), required=True)


@EVENTS.register
class AliasAdded(ArtifactEventType):
    """An alias that matches is applied to any version of the collection (R5, R9, R11, R13).

    `latest` moving to the newest version counts (R10); a move carries both ends.
    """

    key = "alias_added"
    label = _("An artifact alias is added")
    config_form = AliasForm
    sentences = {
        "alias_matches": _("alias “%(alias)s” on %(version)s matches %(pattern)s"),
        "alias_differs": _("alias “%(alias)s” does not match %(pattern)s"),
    }

    def decide(self, config: Config, facts: Mapping[str, Any]) -> Verdict:
        if regex.search(config["alias"], facts["alias"]):
            return Verdict.yes()
        return Verdict.no("alias_differs", alias=facts["alias"], pattern=config["alias"])

    def describe(self, config: Config, facts: Mapping[str, Any], hit: int) -> Reason:
        return Reason(
            "alias_matches",
            {
                "alias": facts["alias"],
                "pattern": config["alias"],
                "version": f"{facts['artifact_collection_name']}:{facts['artifact_version_string']}",
                "from": facts["previous_version"],
            },
        )
