"""`explain` for versions."""

from __future__ import annotations

from typing import Any

import pytest

from automations import explain
from automations.events.base import EVENTS
from automations.models import Automation, Mode
from registry.services.collections import create_collection, remove_alias, set_alias
from registry.services.versions import create_version, link_version
from tests import cast
from tests.cast import Cast, Clock, new_run, rule

pytestmark = pytest.mark.django_db


def why(automation: Automation, version: Any) -> tuple[bool, str]:
    answer = explain.why_version(automation, version)
    said = answer.as_json(EVENTS[automation.event_type])
    assert said["text"]
    assert "%(" not in said["text"]
    return answer.fired, answer.reason.code


def test_why_a_version_did_not_fire(penguins: Cast, clock: Clock) -> None:
    fish, krill = (cast.collection(penguins.project, name) for name in ("fish", "krill"))
    registry = cast.registry()
    shelf = create_collection(registry, "shelf", actor=None)
    version, _created = create_version(fish, actor=None)
    elsewhere = cast.registry("archive")
    set_alias(fish, "before", version, actor=None)
    clock.move(seconds=1)
    table: list[tuple[str, Any, str, dict[str, str], Mode]] = [
        ("fired", penguins.project, "alias_added", {"alias": "^prod"}, Mode.ACTIVE),
        ("shadow", fish, "alias_added", {"alias": "^prod"}, Mode.SHADOW),
        ("muted", fish, "alias_added", {"alias": "^prod"}, Mode.MUTED),
        ("disabled", fish, "alias_added", {"alias": "^prod"}, Mode.DISABLED),
        ("other collection", krill, "alias_added", {"alias": "^prod"}, Mode.ACTIVE),
        ("other registry", elsewhere, "version_linked", {}, Mode.ACTIVE),
        ("its registry", registry, "alias_added", {"alias": "^prod"}, Mode.ACTIVE),
        ("other alias", fish, "alias_added", {"alias": "^stag"}, Mode.ACTIVE),
        ("removed", fish, "alias_removed", {"alias": "."}, Mode.ACTIVE),
        ("added", fish, "version_added", {}, Mode.ACTIVE),
        ("no alias", shelf, "version_unlinked", {"alias": "x"}, Mode.ACTIVE),
    ]
    rules = {
        name: rule(scope, event_type, config, name=name, mode=mode)
        for name, scope, event_type, config, mode in table
    }
    link_version(shelf, version, actor=None)
    set_alias(fish, "production", version, actor=None)
    cast.decide()
    assert {name: why(automation, version) for name, automation in rules.items()} == {
        "fired": (True, "matches"),
        "shadow": (True, "matches"),
        "muted": (False, "muted"),
        "disabled": (False, "disabled"),
        "other collection": (False, "other_scope"),
        "other registry": (False, "other_scope"),
        "its registry": (False, "differs"),
        "other alias": (False, "differs"),
        "removed": (False, "never_happened"),
        "added": (False, "not_since_armed"),
        "no alias": (False, "never_happened"),
    }
    remove_alias(fish, "production", actor=None)
    assert why(rules["removed"], version) == (False, "matches_now")
    cast.decide()
    assert why(rules["removed"], version) == (True, "matches")


def test_a_run_event_of_a_version_and_the_reverse_are_another_kind_of_thing(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    version, _created = create_version(fish, actor=None)
    on_run = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    on_version = rule(penguins.project, "version_added", {})
    on_collection = rule(penguins.project, "collection_tag_added", {"tag": "."})
    assert explain.why_version(on_run, version).reason.code == "other_kind"
    assert explain.why_version(on_collection, version).reason.code == "other_kind"
    assert explain.why_run(on_version, new_run(penguins.project)).reason.code == "other_kind"
