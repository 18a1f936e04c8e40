from runs.models.metrics import MetricBatch, MetricChunk, MetricSummary, Source
from runs.models.people import ApiKey, Member, Organization, Role, Team, User
from runs.models.projects import Project
from runs.models.runs import Lane, Run, RunStatus, RunStatusChange, SweepClock

__all__ = [
    "ApiKey",
    "Lane",
    "Member",
    "MetricBatch",
    "MetricChunk",
    "MetricSummary",
    "Organization",
    "Project",
    "Role",
    "Run",
    "RunStatus",
    "RunStatusChange",
    "Source",
    "SweepClock",
    "Team",
    "User",
]
