from runs.admin import lanes, people, runs

__all__ = ["lanes", "people", "runs"]
