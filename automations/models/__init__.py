from automations.models.backtests import Backtest, BacktestState
from automations.models.deliveries import (
    UNSETTLED,
    Attempt,
    Delivery,
    DeliveryState,
    Order,
    Outlet,
)
from automations.models.history import (
    Event,
    Execution,
    ExecutionState,
    Feed,
    RunLimit,
)
from automations.models.rules import Action, Automation, Mode, ScopeType
from automations.models.targets import Inbox, InboxRequest, Integration, Secret

__all__ = [
    "UNSETTLED",
    "Action",
    "Attempt",
    "Automation",
    "Backtest",
    "BacktestState",
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
    "Order",
    "Outlet",
    "RunLimit",
    "ScopeType",
    "Secret",
]
