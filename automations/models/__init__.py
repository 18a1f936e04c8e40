from automations.models.history import (
    Attempt,
    Delivery,
    DeliveryState,
    Event,
    Execution,
    ExecutionState,
    Feed,
    RunLimit,
)
from automations.models.rules import Action, Automation, Mode, ScopeType
from automations.models.targets import Inbox, InboxRequest, Integration, Secret

__all__ = [
    "Action",
    "Attempt",
    "Automation",
    "Delivery",
    "DeliveryState",
    "Event",
    "Execution",
    "ExecutionState",
    "Feed",
    "Inbox",
    "InboxRequest",
    "Integration",
    "Mode",
    "RunLimit",
    "ScopeType",
    "Secret",
]
