"""A program with somebody's key, and one of everything for it to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.test import Client

from automations.models import Automation, Delivery, Event, Execution, Inbox, Integration, Secret
from automations.services import targets
from registry.models import ArtifactVersion, Collection, Registry, VersionState
from registry.services import versions
from runs.models import ApiKey, Member, Project, Run, RunStatus, Team, User
from runs.services import people
from runs.services.projects import create_project
from runs.services.runs import set_status
from tests import cast

ROOT = "/api/v1/"


class Answer:
    """What came back. Whatever was asked: no 500, and a refusal is JSON in the contract's form."""

    def __init__(self, response: Any, question: str) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.content: bytes = b"".join(response) if response.streaming else response.content
        self._question = question
        assert self.status < 500, f"{question}: {self.status} {self.content[:300]!r}"
        if self.status >= 400:
            assert self.headers["Content-Type"].startswith("application/json"), f"{question}: {self}"
            assert is_refusal(self.json), f"{question}: {self}"

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def text(self) -> str:
        return self.content.decode()

    def __repr__(self) -> str:
        return f"{self._question} → {self.status} {self.content[:500].decode(errors='replace')}"


def is_refusal(body: Any) -> bool:
    """`{"field": ["…"]}`, or one `detail`."""
    return isinstance(body, dict) and all(
        isinstance(found, str)
        if name == "detail"
        else isinstance(found, list) and found and all(isinstance(text, str) for text in found)
        for name, found in body.items()
    )


class Api:
    """Asks with this person's key; without a person, as nobody."""

    def __init__(
        self, user: User | None = None, *, key: str = "", environ: Mapping[str, Any] | None = None
    ) -> None:
        """`environ`: what its server says of itself with every request."""
        if user is not None:
            key = people.create_key(user, "test")[1]
        self._client = Client(raise_request_exception=False, **(environ or {}))
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ask(
        self,
        verb: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`body` is sent as JSON, `raw` as it is; with neither there is no body at all."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        url = path if path.startswith("/") else ROOT + path
        response = self._client.generic(
            verb, url, data, content_type=content_type, headers=self.headers | dict(headers or {})
        )
        return Answer(response, f"{verb} {path[:200]} {data[:200]!r}")

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def put(self, path: str, body: Any = None) -> Answer:
        return self.ask("PUT", path, body)

    def patch(self, path: str, body: Any) -> Answer:
        return self.ask("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        return self.ask("DELETE", path)

    def made(self, path: str, body: Any) -> Any:
        """POST what must succeed with 201, and return what was made."""
        answer = self.post(path, body)
        assert answer.status == 201, answer
        return answer.json

    def listed(self, path: str) -> list[Any]:
        answer = self.get(path)
        assert answer.status == 200, answer
        return list(answer.json["results"])


def superuser(name: str = "root") -> User:
    user = User(username=name, is_staff=True, is_superuser=True)
    user.set_unusable_password()
    user.save()
    return user


@dataclass(frozen=True)
class House:
    """One of everything that a team can have."""

    team: Team
    member: Member
    key: ApiKey
    project: Project
    run: Run
    collection: Collection
    version: ArtifactVersion
    draft: ArtifactVersion
    registry: Registry
    shelf: Collection
    secret: Secret
    integration: Integration
    inbox: Inbox
    automation: Automation
    event: Event
    execution: Execution
    delivery: Delivery


def furnish(team: Team, owner: User, word: str) -> House:
    """Everything of a team, named so that `word` is in each name; its webhook was sent and refused."""
    project = create_project(team, f"{word}-project", description=f"about {word}")
    run = cast.new_run(project, user=owner, name=f"{word}-run")
    cast.log(run, f"{word}-loss", [0.5, 0.4])
    collection = cast.collection(project, f"{word}-models")
    version, _new = versions.create_version(
        collection,
        actor=owner,
        run=run,
        digest=f"{word}-digest",
        metadata={word: 1},
        aliases=[f"{word}-alias"],
        tags=[f"{word}-tag"],
    )
    draft, _new = versions.create_version(
        collection, actor=owner, digest=f"{word}-draft", state=VersionState.PENDING
    )
    registry = cast.registry(f"{word}-registry", owner=owner)
    Registry.objects.filter(pk=registry.pk).update(visibility="restricted")
    shelf = cast.collection(registry, f"{word}-shelf")
    token = cast.secret(team, f"{word}_token", f"{word}-value")
    integration = cast.webhook(team, "https://hooks.example.com/", name=f"{word}-hook", access_token=token)
    automation = cast.rule(
        project,
        "run_status",
        {"statuses": ["finished"]},
        name=f"{word}-rule",
        actions=cast.sends(integration, {"word": word}),
    )
    set_status(run, RunStatus.FINISHED, actor=owner)
    cast.decide()
    execution = Execution.objects.get(automation=automation)
    Delivery.objects.filter(execution=execution).update(state="failed", next_at=None)
    Execution.objects.filter(pk=execution.pk).update(state="failed")
    assert execution.event is not None
    return House(
        team=team,
        member=Member.objects.get(team=team, user=owner),
        key=people.create_service_key(team, f"{word}-ci")[0],
        project=project,
        run=run,
        collection=collection,
        version=version,
        draft=draft,
        registry=Registry.objects.get(pk=registry.pk),
        shelf=shelf,
        secret=token,
        integration=integration,
        inbox=targets.save_inbox(Inbox(team=team, name=f"{word}-inbox")),
        automation=automation,
        event=execution.event,
        execution=Execution.objects.get(pk=execution.pk),
        delivery=Delivery.objects.get(execution=execution),
    )


def rows() -> dict[str, int]:
    """How many rows every table of Tripline has."""
    from django.apps import apps

    labels = {"runs", "registry", "automations"}
    tables: list[type[models.Model]] = [m for m in apps.get_models() if m._meta.app_label in labels]
    return {table._meta.label: table._default_manager.count() for table in tables}
