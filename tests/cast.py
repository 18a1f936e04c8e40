"""A small cast that every story knows, and the verbs with which the stories are told.

Team penguins has the project waddle. Ada is its admin, Max a member, Vera may look. Otto is the admin of
another team, the otters, and must never see any of it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F

from automations import delivery, evaluation
from automations.access import Scope
from automations.models import Automation, Delivery, Event, Execution, Integration, Mode, Secret
from automations.services import rules, targets
from automations.services.rules import ActionDraft
from registry.models import Collection, Registry
from registry.services.collections import create_collection, create_registry
from runs import ingest
from runs.models import Lane, Organization, Project, Role, Run, RunStatus, Team, User
from runs.services import people
from runs.services.metrics import Accepted, log_metrics
from runs.services.projects import create_project
from runs.services.runs import start_run


@dataclass(frozen=True)
class Cast:
    """Everybody, saved."""

    organization: Organization
    team: Team
    project: Project
    ada: User
    max: User
    vera: User
    otters: Team
    otto: User


def assemble() -> Cast:
    ada, max_, vera, otto = (person(name) for name in ("ada", "max", "vera", "otto"))
    team = people.create_team("penguins", owner=ada)
    people.set_member(team, max_, role=Role.MEMBER)
    people.set_member(team, vera, role=Role.VIEWER)
    otters = people.create_team("otters", owner=otto)
    project = create_project(team, "waddle")
    return Cast(Organization.default(), team, project, ada, max_, vera, otters, otto)


def person(name: str) -> User:
    """Somebody who has no password: hashing one takes longer than most stories."""
    user = User(username=name, email=f"{name}@example.com")
    user.set_unusable_password()
    user.save()
    return user


# --- Runs -----------------------------------------------------------------------------------------


def new_run(
    project: Project, *, user: User | None = None, name: str = "", status: RunStatus = RunStatus.RUNNING
) -> Run:
    run, created = start_run(project, user, name=name, status=status)
    assert created
    return run


def log(
    run: Run,
    metric: str,
    values: Iterable[float | str],
    *,
    first_step: int | None = None,
    key: str | None = None,
    source: str = "history",
) -> Accepted:
    """One call with these values of one metric at consecutive steps, by default after the last one."""
    points: list[dict[str, Any]] = [{"values": {metric: value}} for value in values]
    if first_step is not None:
        points[0]["step"] = first_step
    return log_points(run, points, key=key, source=source)


def log_points(
    run: Run, points: Sequence[Mapping[str, Any]], *, key: str | None = None, source: str = "history"
) -> Accepted:
    """One call, by way of the bytes that a client would send."""
    call = ingest.parse(json.dumps({"points": points, "source": source}).encode())
    return log_metrics(run, call, key=key)


# --- Rules and targets ----------------------------------------------------------------------------


def rule(
    scope: Scope,
    event_type: str,
    config: Mapping[str, Any],
    *,
    name: str = "",
    mode: Mode = Mode.ACTIVE,
    muted_until: datetime | None = None,
    period: int | None = 86_400,
    per_status: bool = False,
    actions: Sequence[ActionDraft] = (ActionDraft("noop"),),
) -> Automation:
    draft = Automation(
        name=name or f"rule {Automation.objects.count() + 1}",
        mode=mode,
        muted_until=muted_until,
        event_type=event_type,
        config=dict(config),
        period=period,
        per_status=per_status,
    )
    return rules.save_automation(draft, scope=scope, actions=actions)


def threshold(
    metric: str = "loss",
    comparison: str = "above",
    value: float = 0.6,
    *,
    aggregation: str = "none",
    window: int = 5,
    **options: Any,
) -> dict[str, Any]:
    """The condition of a threshold rule; by default the latest value alone is looked at."""
    return {
        "metric": metric,
        "comparison": comparison,
        "threshold": value,
        "aggregation": aggregation,
        "window": window,
        **options,
    }


def secret(team: Team, name: str, value: str) -> Secret:
    return targets.save_secret(Secret(team=team, name=name), value=value)


def webhook(
    team: Team,
    url: str,
    *,
    name: str = "hook",
    access_token: Secret | None = None,
    signing_secret: Secret | None = None,
) -> Integration:
    draft = Integration(
        team=team, type="webhook", name=name, access_token=access_token, signing_secret=signing_secret
    )
    return targets.save_integration(draft, url=url)


def sends(integration: Integration, payload: Mapping[str, Any] | None = None) -> list[ActionDraft]:
    """The actions of a rule that posts this payload."""
    return [ActionDraft("webhook", integration, {"payload": dict(payload or {})})]


# --- Artifacts ------------------------------------------------------------------------------------


def collection(parent: Project | Registry, name: str = "fish-classifier") -> Collection:
    return create_collection(parent, name, actor=None)


def registry(name: str = "models", *, owner: User | None = None) -> Registry:
    return create_registry(name, owner=owner)


# --- What workers do ------------------------------------------------------------------------------


def decide() -> None:
    """Decide everything that waits, as the workers would, lane by lane and then event by event."""
    for run_id in Lane.objects.filter(cursor__lt=F("head")).values_list("pk", flat=True):
        evaluation.evaluate_lane(run_id)
    undecided = Event.objects.filter(decided_at=None, run=None)
    for event_id in undecided.order_by("pk").values_list("pk", flat=True):
        evaluation.evaluate_event(event_id)


def deliver() -> None:
    """Try everything that is due, once through."""
    pending = Delivery.objects.order_by("integration").values_list("integration", flat=True).distinct()
    for integration_id in list(pending):
        delivery.drain(integration_id)


def steps(automation: Automation, state: str | None = None) -> list[int]:
    """At which steps a metric rule fired, in order of its decisions."""
    found = Execution.objects.filter(automation=automation).exclude(state="skipped").order_by("pk")
    if state is not None:
        found = found.filter(state=state)
    return [execution.explanation["data"]["step"] for execution in found]


def fired(automation: Automation) -> int:
    return Execution.objects.filter(automation=automation).exclude(state="skipped").count()


def skipped(automation: Automation) -> list[Execution]:
    return list(Execution.objects.filter(automation=automation, state="skipped").order_by("pk"))


# --- Many at once ---------------------------------------------------------------------------------


def at_once(number: int, work: Callable[[int], Any], *, within: float = 30.0) -> list[Any]:
    """Run `work(0)`, `work(1)`, … each in a thread of its own, started together; their results in order.

    Raises what any of them raised, and `TimeoutError` when one does not end.
    """
    barrier = threading.Barrier(number)
    results: list[Any] = [None] * number
    failures: list[BaseException] = []

    def run(position: int) -> None:
        try:
            barrier.wait(within)
            results[position] = work(position)
        except BaseException as failure:  # noqa: BLE001  # raised again in the test's own thread
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[position], daemon=True) for position in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within)
    if failures:
        raise failures[0]
    if any(thread.is_alive() for thread in threads):
        raise TimeoutError("A thread did not end.")
    return results


class Clock:
    """Stands still until it is told to move on."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def move(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> datetime:
        self.moment += timedelta(seconds=seconds, minutes=minutes, hours=hours)
        return self.moment
