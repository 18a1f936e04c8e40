"""Who is in the example, and where its messages go."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.db import transaction

from automations.models import Inbox, Integration, Secret
from automations.services import targets
from config.embedded import StartError
from registry.models import Registry
from registry.services.collections import create_registry, set_registry_member
from runs.models import Organization, Project, Role, Team, User
from runs.services import people
from runs.services.projects import create_project

ORGANIZATION = "Example"
SEABIRDS, VOYAGERS = "seabirds", "voyagers"
REGISTRY = "released-models"
# The first of each is the team's admin; the last may only look, and never trains anything.
_MEMBERS = {SEABIRDS: ("ines", "tomasz", "yuki", "marit"), VOYAGERS: ("leila", "yuki", "oskar", "marit")}


@dataclass(frozen=True, slots=True)
class Crew:
    """One team: its people, its project, and its ways out."""

    team: Team
    people: list[User]
    project: Project
    inbox: Inbox
    channel: Inbox
    hook: Integration
    chat: Integration
    mail: Integration

    @property
    def lead(self) -> User:
        return self.people[0]


@dataclass(frozen=True, slots=True)
class Cast:
    organization: Organization
    seabirds: Crew
    voyagers: Crew
    # Where the training that streams now is logged.
    live: Project
    registry: Registry
    # A receiver that will be gone one day.
    pager_inbox: Inbox
    pager: Integration


def refuse_taken_names() -> None:
    """Nothing of anybody's is touched: where a name is taken, there is no example."""
    names = {name for members in _MEMBERS.values() for name in members}
    taken = [
        *(f"the organization “{row}”" for row in Organization.objects.filter(name=ORGANIZATION)),
        *(f"the team “{row}”" for row in Team.objects.filter(name__in=_MEMBERS)),
        *(f"the user “{row}”" for row in User.objects.filter(username__in=names).order_by("username")),
    ]
    if taken:
        raise StartError(
            f"The example cannot be made, because its names are taken: {', '.join(taken)}. Start without "
            "--demo, or give the example a data directory of its own with TRIPLINE_DATA_DIR."
        )


@transaction.atomic
def assemble() -> Cast:
    organization = Organization.objects.create(name=ORGANIZATION)
    admins = list(User.objects.filter(is_superuser=True))
    crews = [
        _crew(organization, SEABIRDS, "seabird-classifier", "Which bird is on the picture", admins),
        _crew(organization, VOYAGERS, "logbook-summaries", "Ship's logs, told in three sentences", admins),
    ]
    seabirds, voyagers = crews
    live = create_project(voyagers.team, "live-tuning", description="A training that goes on right now")
    registry = create_registry(
        REGISTRY,
        owner=seabirds.lead,
        organization=organization,
        description="What may be served",
        protected_aliases=["production"],
    )
    for crew in crews:
        set_registry_member(registry, crew.lead, role=Role.ADMIN)
    pager_inbox = targets.save_inbox(Inbox(team=seabirds.team, name="old pager"))
    pager = _integration(seabirds.team, "webhook", "old pager", pager_inbox)
    return Cast(organization, seabirds, voyagers, live, registry, pager_inbox, pager)


def _crew(organization: Organization, name: str, project: str, about: str, admins: list[User]) -> Crew:
    members = [_person(each) for each in _MEMBERS[name]]
    team = people.create_team(name, organization=organization, owner=members[0])
    for person in members[1:-1]:
        people.set_member(team, person, role=Role.MEMBER)
    people.set_member(team, members[-1], role=Role.VIEWER)
    for admin in admins:
        people.set_member(team, admin, role=Role.ADMIN)
    inbox = targets.save_inbox(Inbox(team=team, name="inbox"))
    channel = targets.save_inbox(Inbox(team=team, name="channel"))
    return Crew(
        team=team,
        people=members[:-1],
        project=create_project(team, project, description=about),
        inbox=inbox,
        channel=channel,
        hook=_integration(team, "webhook", "inbox", inbox, signed=True),
        chat=_integration(team, "slack", "channel", channel),
        mail=_integration(team, "email", "mail"),
    )


def _person(name: str) -> User:
    """Somebody who cannot sign in, at an address that no mail reaches."""
    known = User.objects.filter(username=name).first()
    if known is not None:
        return known
    user = User(username=name, email=f"{name}@example.invalid")
    user.set_unusable_password()
    user.save()
    return user


def _integration(
    team: Team, kind: str, name: str, inbox: Inbox | None = None, *, signed: bool = False
) -> Integration:
    key = _secret(team) if signed else None
    draft = Integration(team=team, type=kind, name=name, signing_secret=key)
    return targets.save_integration(draft, url=inbox.url if inbox else None)


def _secret(team: Team) -> Secret:
    return targets.save_secret(Secret(team=team, name="SIGNING_KEY"), value=secrets.token_urlsafe(24))


def lead_to_inboxes(organization: Organization) -> None:
    """The installation's address may be another than at the last start: have messages come here."""
    inboxes = {(row.team_id, row.name): row for row in Inbox.objects.filter(team__organization=organization)}
    rows = Integration.objects.filter(team__organization=organization, type__in=("webhook", "slack"))
    for integration in rows:
        inbox = inboxes.get((integration.team_id, integration.name))
        if inbox is not None:
            targets.save_integration(integration, url=inbox.url)
