"""Who may see and do what with automations and their history."""

from __future__ import annotations

from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from automations.models import (
    Automation,
    Backtest,
    Delivery,
    Event,
    Execution,
    Inbox,
    Integration,
    ScopeType,
    Secret,
)
from registry import access as registry_access
from registry.models import Collection, Registry, Visibility
from runs import access
from runs.access import Person
from runs.models import Member, Organization, Project, Role, Team, User

Scope = Project | Registry | Collection | Team | Organization


def automations(user: Person) -> QuerySet[Automation]:
    """Automations whose scope the person sees; those of an organization are seen by all in it."""
    if user.is_superuser:
        return Automation.objects.exclude(project__team__organization__is_internal=True)
    projects = access.projects(user).filter(pk=OuterRef("project"))
    registries = registry_access.registries(user).filter(pk=OuterRef("registry"))
    collections = registry_access.collections(user).filter(pk=OuterRef("collection"))
    return Automation.objects.filter(
        Q(access.there_is(projects))
        | Q(team__in=access.teams(user).values("pk"))
        | Q(access.there_is(registries))
        | Q(access.there_is(collections))
        | Q(organization__in=access.organizations(user).values("pk"))
    )


def _history(user: Person) -> Q:
    """What happened in a team or a registry that the person sees."""
    return Q(team__in=access.teams(user).values("pk")) | Q(
        registry__in=registry_access.registries(user).values("pk")
    )


def executions(user: Person) -> QuerySet[Execution]:
    if user.is_superuser:
        return Execution.objects.exclude(organization__is_internal=True)
    return Execution.objects.filter(_history(user))


def events(user: Person) -> QuerySet[Event]:
    if user.is_superuser:
        return Event.objects.filter(organization__is_internal=False)
    return Event.objects.filter(_history(user))


def feeds(user: Person) -> QuerySet[Organization]:
    """The organizations in whose feed the person may find something."""
    if user.is_superuser:
        return Organization.objects.all()
    return Organization.objects.filter(
        Q(pk__in=access.teams(user).values("organization"))
        | Q(pk__in=registry_access.registries(user).values("organization"))
    )


def deliveries(user: Person) -> QuerySet[Delivery]:
    # Asked of each delivery: to list all executions takes longer than a page of deliveries.
    return Delivery.objects.filter(Exists(executions(user).filter(pk=OuterRef("execution"))))


def secrets(user: Person) -> QuerySet[Secret]:
    return Secret.objects.filter(team__in=access.teams(user))


def integrations(user: Person) -> QuerySet[Integration]:
    return Integration.objects.filter(team__in=access.teams(user))


def inboxes(user: Person) -> QuerySet[Inbox]:
    return Inbox.objects.filter(team__in=access.teams(user))


def backtests(user: Person) -> QuerySet[Backtest]:
    """One's own."""
    if user.is_superuser:
        return Backtest.objects.all()
    return Backtest.objects.filter(created_by=cast(int, user.pk))


def sees_what_it_tries(user: Person, job: Backtest) -> bool:
    """Whether the person still sees the scope of a backtest."""
    place = job.draft["scope"]
    return visible_scopes(user, ScopeType(place["type"])).filter(pk=place["id"]).exists()


def people(scope: Scope) -> QuerySet[User]:
    """Who belongs to a scope: the team's members; of a registry, its members and whom it is open to."""
    found = User.objects.filter(is_active=True, is_service=False)
    place: models.Model | None = scope
    if isinstance(scope, Collection):
        place = scope.registry or scope.project
    if isinstance(place, Project):
        place = place.team
    if isinstance(place, Team):
        return found.filter(pk__in=Member.objects.filter(team=place).values("user"))
    if isinstance(place, Organization):
        return found.filter(pk__in=Member.objects.filter(team__organization=place).values("user"))
    if not isinstance(place, Registry):
        return found.none()
    condition = Q(pk__in=place.members.values("user"))
    if place.visibility == Visibility.ORGANIZATION:
        everybody = Member.objects.filter(team__organization=place.organization_id)
        condition |= Q(pk__in=everybody.values("user"))
    return found.filter(condition)


def require_scope_role(user: Person, scope: Scope, at_least: Role) -> None:
    """Raise `PermissionDenied` unless the person has the role where the scope lives.

    Rules of the whole organization are made by superusers.
    """
    if isinstance(scope, Project):
        access.require_role(user, scope.team, at_least)
    elif isinstance(scope, Team):
        access.require_role(user, scope, at_least)
    elif isinstance(scope, Registry):
        registry_access.require_registry_role(user, scope, at_least)
    elif isinstance(scope, Collection):
        registry_access.require_role(user, scope, at_least)
    elif not user.is_superuser:
        raise PermissionDenied(_("Only superusers make automations for the whole organization."))


def require_history_role(user: Person, execution: Execution, at_least: Role) -> None:
    """Raise `PermissionDenied` unless the person has the role where it happened."""
    if execution.team is not None:
        access.require_role(user, execution.team, at_least)
    elif execution.registry is not None:
        registry_access.require_registry_role(user, execution.registry, at_least)


def visible_scopes(user: Person, scope_type: ScopeType) -> QuerySet[Scope]:
    """What of this kind the person could choose as a scope."""
    found = {
        ScopeType.PROJECT: access.projects,
        ScopeType.TEAM: access.teams,
        ScopeType.REGISTRY: registry_access.registries,
        ScopeType.COLLECTION: registry_access.collections,
        ScopeType.ORGANIZATION: access.organizations,
    }
    return found[scope_type](user)  # type: ignore[operator,no-any-return]


def writable_scopes(user: Person, scope_type: ScopeType) -> QuerySet[Scope]:
    """What of this kind the person may make rules for (`require_scope_role`)."""
    teams = access.teams(user, at_least=Role.MEMBER).values("pk")
    registries = registry_access.registries(user, at_least=Role.MEMBER)
    nowhere = Organization.objects.none()
    found: dict[ScopeType, QuerySet[Any]] = {
        ScopeType.PROJECT: Project.objects.filter(team__in=teams),
        ScopeType.TEAM: Team.objects.filter(pk__in=teams),
        ScopeType.REGISTRY: registries,
        ScopeType.COLLECTION: registry_access.collections(user).filter(
            Q(project__team__in=teams) | Q(registry__in=registries.values("pk"))
        ),
        ScopeType.ORGANIZATION: access.organizations(user) if user.is_superuser else nowhere,
    }
    return found[scope_type]


def writes_somewhere(user: Person) -> bool:
    """Whether the person may make rules anywhere."""
    return (
        user.is_superuser
        or access.teams(user, at_least=Role.MEMBER).exists()
        or registry_access.registries(user, at_least=Role.MEMBER).exists()
    )
