from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from automations.actions.base import ACTIONS, ActionType, Occasion, Outcome
from automations.forms import ConfigForm

if TYPE_CHECKING:
    from automations.models import Action, Delivery


@ACTIONS.register
class Noop(ActionType):
    """Sends nothing: the execution in the history is all there is."""

    key = "noop"
    label = _("Record only")
    config_form = ConfigForm
    immediate = True

    def sentence(self, config: Mapping[str, Any], target: str) -> str:
        return str(_("nothing is sent, it is only recorded"))

    def render(self, action: Action, occasion: Occasion) -> str:
        return ""

    def send(self, delivery: Delivery) -> Outcome:
        return Outcome(ok=True)
