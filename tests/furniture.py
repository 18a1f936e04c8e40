"""Rows of every model, for pages that must cope with all of them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.apps import apps

from automations.models import Attempt, Backtest, Delivery, Inbox, Outlet
from automations.services import targets
from registry.models import VersionState
from registry.services.collections import set_alias, tag_collection
from registry.services.files import put_file
from registry.services.uses import use_version
from registry.services.versions import commit_version, create_version, link_version
from runs import clock
from runs.models import Project, Run, Team, User
from runs.services import people
from runs.services.projects import create_project
from tests.cast import collection, decide, log, new_run, person, registry, rule, secret, sends, webhook

OURS: list[Any] = [
    model for app in ("runs", "registry", "automations") for model in apps.get_app_config(app).get_models()
]


def staff(user: User) -> User:
    user.is_staff = True
    user.save()
    return user


def superuser(user: User) -> User:
    user.is_staff = user.is_superuser = True
    user.save()
    return user


def furnish(name: str) -> Team:
    """One row of every model at least, none of them shared with the furniture of another name."""
    owner = person(f"owner-{name}")
    team = people.create_team(name, owner=owner)
    people.create_key(owner, f"key {name}")
    people.create_service_key(team, f"service {name}")
    project = create_project(team, f"project-{name}")
    hook = webhook(
        team,
        "https://example.com/hook",
        name=f"hook {name}",
        access_token=secret(team, "TOKEN", f"token-of-{name}"),
        signing_secret=secret(team, "SIGNING", f"signing-of-{name}"),
    )
    inbox = targets.save_inbox(Inbox(team=team, name=f"inbox {name}"))
    targets.receive(inbox, headers={"X-From": name}, body=b"{}")
    for scope in (project, team):
        rule(scope, "run_status", {"statuses": ["running"]}, name=f"status {name}", actions=sends(hook))
    tried = {"scope": {"type": "project", "id": project.pk}, "event_type": "run_status"}
    Backtest.objects.create(created_by=owner, draft=tried, created_at=clock.now())
    run = new_run(project, user=owner, name=f"run {name}")
    log(run, "loss", [0.1, 0.9])
    furnish_artifacts(name, project, run, owner)
    decide()
    Outlet.objects.create(integration=hook)
    for delivery in Delivery.objects.filter(integration=hook):
        Attempt.objects.create(
            delivery=delivery, number=1, started_at=clock.now(), duration=0.1, status_code=500
        )
    return team


def furnish_artifacts(name: str, project: Project, run: Run, owner: User) -> None:
    made = collection(project, f"made-{name}")
    models = registry(f"registry-{name}", owner=owner)
    linked = collection(models, f"linked-{name}")
    rule(models, "alias_added", {"alias": "."}, name=f"alias {name}")
    rule(linked, "alias_added", {"alias": "."}, name=f"alias {name}")
    draft, _created = create_version(
        made, actor=owner, run=run, tags=[f"tag-{name}"], state=VersionState.PENDING
    )
    put_file(draft, f"{name}.bin", BytesIO(name.encode()))
    version = commit_version(draft, actor=owner)
    link_version(linked, version, actor=owner)
    set_alias(linked, "production", version, actor=owner)
    use_version(run, version)
    tag_collection(made, "good", actor=owner)
