"""The canary: a rule of the installation's own that really fires, end to end, into a built-in inbox.

What it needs lies in an organization that nobody is in and no list shows. It takes the ordinary way: a
value is logged, decided, and sent over HTTP to `TRIPLINE_BASE_URL`. How far each one came is read from
its rows (`automations.health.trips`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction

from automations import vault
from automations.models import Automation, Event, Execution, Inbox, Integration
from automations.services import rules, targets
from automations.services.rules import ActionDraft
from runs import clock, ingest
from runs.models import Organization, Project, Run, Team
from runs.services import people
from runs.services.metrics import log_metrics
from runs.services.projects import create_project
from runs.services.runs import start_run

NAME = "canary"
# So long its rows are kept. Every hour has a run of its own, so that old values go with an old run.
KEEP = timedelta(hours=1)
EVENT_TYPE = "run_metric_threshold"
_CONDITION = {"metric": NAME, "aggregation": "none", "comparison": "above", "threshold": 0}


@dataclass(frozen=True, slots=True)
class Canary:
    """All that it consists of but its runs."""

    organization: Organization
    project: Project
    inbox: Inbox
    integration: Integration
    rule: Automation


def send() -> bool:
    """Send the canary of the present interval, unless somebody has; True for who sent it.

    Any number of callers send one: who comes second meets the key of the first. With it go the old ones.
    """
    canary = make()
    now = clock.now()
    number = int(now.timestamp() // settings.TRIPLINE_CANARY_EVERY)
    call = ingest.Call(points=[ingest.Point(values={NAME: 1.0}, step=number)])
    if log_metrics(_run(canary.project, number), call, key=str(number)).duplicate:
        return False
    _forget(canary, now)
    return True


def _run(project: Project, number: int) -> Run:
    """The run of the hour in which this interval begins."""
    began = datetime.fromtimestamp(number * settings.TRIPLINE_CANARY_EVERY, UTC)
    run_id = f"{began:%Y-%m-%dT%H}"
    known = Run.objects.filter(project=project, run_id=run_id).first()
    return known or start_run(project, None, run_id=run_id, name=NAME)[0]


def _forget(canary: Canary, now: datetime) -> None:
    """Also what still waits: an old canary is of no use to anybody."""
    Execution.objects.filter(organization=canary.organization, created_at__lt=now - KEEP).delete()
    Event.objects.filter(organization=canary.organization, received_at__lt=now - KEEP).delete()
    Run.objects.filter(project=canary.project, started_at__lt=now - 2 * KEEP).delete()


@transaction.atomic
def make() -> Canary:
    """Everything that it needs, made where it is missing and mended where somebody changed it."""
    organization = _organization()
    team = Team.objects.filter(organization=organization).first()
    team = team or people.create_team(f"{NAME}-{secrets.token_hex(4)}", organization=organization)
    project = Project.objects.filter(team=team, name=NAME).first() or create_project(team, NAME)
    inbox = Inbox.objects.filter(team=team, name=NAME).first()
    inbox = inbox or targets.save_inbox(Inbox(team=team, name=NAME))
    integration = _integration(team, inbox)
    return Canary(organization, project, inbox, integration, _rule(project, integration))


def _organization() -> Organization:
    """The internal one, locked: one at a time makes what it holds."""
    # Its name must be free, whatever people call theirs.
    defaults = {"name": f"{NAME}-{secrets.token_hex(4)}"}
    found, _created = Organization.objects.get_or_create(is_internal=True, defaults=defaults)
    return Organization.objects.select_for_update().get(pk=found.pk)


def _integration(team: Team, inbox: Inbox) -> Integration:
    found = Integration.objects.filter(team=team, name=NAME).first()
    if found is None or not _leads_to(found, inbox.url):
        found = found or Integration(team=team, type="webhook", name=NAME)
        targets.save_integration(found, url=inbox.url)
    if not found.healthy:
        targets.set_integration_enabled(found, enabled=True)
    return found


def _leads_to(integration: Integration, url: str) -> bool:
    """Not when the installation's address has changed, or its keys."""
    try:
        return vault.decrypt(integration.url_ciphertext) == url
    except vault.VaultError:
        return False


def _rule(project: Project, integration: Integration) -> Automation:
    known = Automation.objects.filter(project=project, name=NAME).first()
    if known is not None:
        return known
    draft = Automation(name=NAME, event_type=EVENT_TYPE, config=dict(_CONDITION), period=0)
    payload = {NAME: "${step}"}
    action = ActionDraft("webhook", integration, {"payload": payload})
    return rules.save_automation(draft, scope=project, actions=[action])
