from automations.admin import history, rules, targets

__all__ = ["history", "rules", "targets"]
