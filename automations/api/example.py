"""One marked message, sent at once, to see whether an integration works. Nothing of it is recorded."""

from __future__ import annotations

from django.utils.translation import gettext as _

from automations.actions.base import ACTIONS, Occasion, Outcome
from automations.models import Action, Delivery, Integration
from automations.occasions import speaking_to, test_mark
from runs.models import User


def send_example(integration: Integration, user: User) -> Outcome:
    """What came back. An e-mail goes to `user`."""
    action_type = ACTIONS[integration.type]
    with speaking_to(integration.team):
        text = _("This is a test message from Tripline.")
        contents = {
            "payload": {"test": True, "text": text},
            "title": "Tripline",
            "subject": "Tripline",
            "message": text,
            "to": [user.username],
        }
        fields = action_type.config_form.base_fields
        config = action_type.config_form.parse({name: contents[name] for name in fields if name in contents})
        action = Action(type=integration.type, integration=integration, config=config)
        audience = f"team:{integration.team_id}"
        body = action_type.render(action, Occasion({}, why=text, mark=test_mark(), audience=audience))
    return action_type.send(Delivery(integration=integration, type=integration.type, body=body))
