"""Taking the example out of a data directory, and leaving everything else as it is."""

from __future__ import annotations

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db import transaction
from django.db.models import Q

from automations.models import Automation, Execution, Integration
from registry.models import ArtifactFile, ArtifactVersion, Collection, Registry
from runs.models import Organization, Project, Run, Team, User


def remove(organization_id: int) -> None:
    """Everything that belongs to the organization, its history and its files too.

    Row by row from the top down: what one layer protects goes before it.
    """
    organization = Organization.objects.get(pk=organization_id)
    teams = Team.objects.filter(organization=organization)
    projects = Project.objects.filter(team__in=teams)
    registries = Registry.objects.filter(organization=organization)
    collections = Collection.objects.filter(Q(project__in=projects) | Q(registry__in=registries))
    files = ArtifactFile.objects.filter(version__home__in=collections)
    contents = [file.content for file in files]
    with transaction.atomic():
        # Who is in no other team and cannot sign in is of the example, the accounts of its keys too.
        members = User.objects.filter(
            memberships__team__in=teams, password__startswith=UNUSABLE_PASSWORD_PREFIX
        )
        people = list(members.exclude(memberships__team__organization__in=_others(organization)).distinct())
        Execution.objects.filter(organization=organization).delete()
        Automation.objects.filter(
            Q(project__in=projects)
            | Q(registry__in=registries)
            | Q(collection__in=collections)
            | Q(team__in=teams)
            | Q(organization=organization)
        ).delete()
        Integration.objects.filter(team__in=teams).delete()
        ArtifactVersion.objects.filter(home__in=collections).delete()
        collections.delete()
        registries.delete()
        Run.objects.filter(project__in=projects).delete()
        projects.delete()
        teams.delete()
        User.objects.filter(pk__in=[person.pk for person in people]).delete()
        organization.delete()
    for content in contents:
        content.delete(save=False)


def _others(organization: Organization) -> list[Organization]:
    return list(Organization.objects.exclude(pk=organization.pk))
