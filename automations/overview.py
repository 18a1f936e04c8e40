"""What pages say of automations: read at once for a whole list, for one reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Prefetch, Q, QuerySet, Subquery
from django.utils.translation import gettext as _

from automations import access, fired, wording
from automations.events.base import EVENTS, types_of
from automations.events.runs import RunEventType
from automations.fired import Fired
from automations.models import Action, Automation, Integration, Mode
from registry.models import ArtifactChange, Registry
from runs import clock
from runs.access import Person
from runs.models import Project


@dataclass(frozen=True, slots=True)
class Target:
    """Where an automation sends to; `state` is "ok", "failing" or "disabled". Without a name: not shown."""

    name: str
    state: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """An automation in a list: the rule in words, the last execution the reader sees, its targets."""

    automation: Automation
    sentence: str
    watches: str
    targets: Sequence[Target]
    last: Fired | None

    @property
    def mode(self) -> Mode:
        return effective_mode(self.automation)

    @property
    def troubled(self) -> Sequence[Target]:
        return [target for target in self.targets if target.state != "ok"]


def effective_mode(automation: Automation) -> Mode:
    """A mute that is over is none."""
    until = automation.muted_until
    over = automation.mode == Mode.MUTED and until is not None and until <= clock.now()
    return Mode.ACTIVE if over else Mode(automation.mode)


# What a rule belongs to, and who made it.
NAMED = (
    "project__team",
    "registry",
    "collection__project__team",
    "collection__registry",
    "team",
    "organization",
    "created_by",
)


def with_scopes(automations: QuerySet[Automation]) -> QuerySet[Automation]:
    """Together with everything that their sentences name."""
    actions = Action.objects.order_by("position").select_related("integration__outlet")
    return automations.select_related(*NAMED).prefetch_related(Prefetch("actions", queryset=actions))


def rows(automations: QuerySet[Automation], person: Person) -> list[Row]:
    """In the queryset's order; a constant number of queries, however many there are."""
    mine = access.executions(person).filter(automation=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    found = list(with_scopes(automations).annotate(last_execution=Subquery(mine)))
    last = fired.by_id([row.last_execution for row in found if row.last_execution])
    seen = seen_integrations(found, person)
    return [_row(row, seen, last.get(row.last_execution)) for row in found]


def row(automation: Automation, person: Person) -> Row:
    (found,) = rows(Automation.objects.filter(pk=automation.pk), person)
    return found


def _row(automation: Automation, seen: set[int], last: Fired | None) -> Row:
    actions = list(automation.actions.all())
    integrations = {action.integration for action in actions if action.integration}
    return Row(
        automation,
        wording.rule_sentence(automation, actions, seen),
        wording.scope_words(automation),
        [target(integration, seen) for integration in sorted(integrations, key=lambda one: one.pk)],
        last,
    )


def seen_integrations(automations: Sequence[Automation], person: Person) -> set[int]:
    """Those of their integrations that are of the person's own teams."""
    actions = [action for each in automations for action in each.actions.all()]
    used = {action.integration_id for action in actions if action.integration_id}
    return set(access.integrations(person).filter(pk__in=used).values_list("pk", flat=True))


def target(integration: Integration, seen: set[int]) -> Target:
    is_seen = integration.pk in seen
    name = integration.name if is_seen else _("an integration of another team")
    if not integration.healthy:
        return Target(name, "disabled", integration.why_disabled if is_seen else "")
    outlet = getattr(integration, "outlet", None)
    return Target(name, "failing" if outlet and outlet.failing_since else "ok")


def watching_project(person: Person, project: Project) -> QuerySet[Automation]:
    """Everything that can fire in a project: its own rules, its collections', its team's, all of them."""
    return access.automations(person).filter(
        Q(project=project)
        | Q(collection__project=project, collection__deleted_at=None)
        | Q(team=project.team_id)
        | Q(organization=project.team.organization_id)
    )


def watching_registry(person: Person, registry: Registry) -> QuerySet[Automation]:
    return access.automations(person).filter(
        Q(registry=registry)
        | Q(collection__registry=registry, collection__deleted_at=None)
        | Q(organization=registry.organization_id)
    )


def artifact_events() -> list[str]:
    """The types of events that happen to artifacts."""
    return [event_type.key for event_type in types_of(ArtifactChange)]


def run_events() -> list[str]:
    """The types of events that happen to runs."""
    return [event_type.key for event_type in EVENTS if isinstance(event_type, RunEventType)]
