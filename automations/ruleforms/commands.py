"""The buttons of the form that change it and save nothing: each is an edit of what was posted."""

from __future__ import annotations

import json

from django.http import QueryDict

from automations.actions.base import ACTIONS
from automations.events.base import EVENTS
from automations.presets import PRESETS
from automations.ruleforms.places import writable_or_none
from automations.ruleforms.sending import ROWS
from automations.services import targets
from automations.services.rules import team_of_scope
from runs import access, keyset
from runs.models import Role, User

SAVE = "save"


def edited(posted: QueryDict, person: User) -> QueryDict:
    """What was posted, as the button that was pressed (`do`) changes it: `remove:2`, `payload:0:github` …"""
    data = posted.copy()
    command, _colon, rest = data.get("do", "").partition(":")
    key, _colon, detail = rest.partition(":")
    if command == "add":
        _add(data)
    elif keyset.number(key) is None:
        return data
    elif command == "remove":
        data.setlist(ROWS, [row for row in data.getlist(ROWS) if row != key])
    elif command == "payload":
        _use_preset(data, key, detail)
    elif command == "inbox":
        _open_inbox(data, key, person)
    return data


def _add(data: QueryDict) -> None:
    """One row more, of the type of the last one."""
    rows = data.getlist(ROWS)
    free = max((keyset.number(row) or 0 for row in rows), default=-1) + 1
    last = data.get(f"{ROWS}-{rows[-1]}-type", "") if rows else ""
    data.appendlist(ROWS, str(free))
    data[f"{ROWS}-{free}-type"] = last if last in ACTIONS else "webhook"


def _use_preset(data: QueryDict, row: str, preset: str) -> None:
    """The payload in the form that a well-known receiver takes, fitted to the event."""
    found = next((each for each in PRESETS if each.key == preset), None)
    event = data.get("event", "")
    if found is not None and event in EVENTS:
        payload = found.payload(EVENTS[event])
        data[f"{ROWS}-{row}-content-payload"] = json.dumps(payload, ensure_ascii=False, indent=2)


def _open_inbox(data: QueryDict, row: str, person: User) -> None:
    """An inbox of the scope's team, a webhook that posts to it, and the row sends there."""
    scope = writable_or_none(person, data.get("scope", ""))
    team = team_of_scope(scope) if scope is not None else None
    if team is None:
        return
    access.require_role(person, team, Role.ADMIN)
    data[f"{ROWS}-{row}-integration"] = str(targets.open_inbox(team).pk)
