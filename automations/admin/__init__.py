from automations.admin import backtests, history, rules, targets

__all__ = ["backtests", "history", "rules", "targets"]
