"""What the stories about messages share: a rule that fires, and what arrived at the receiver."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_httpserver import HTTPServer

from automations.models import Delivery, Execution, Integration
from automations.services import targets
from automations.services.rules import ActionDraft
from registry.services.collections import set_alias
from registry.services.versions import create_version
from runs.models import Project, Team
from tests import cast
from tests.cast import Cast


def bodies(server: HTTPServer) -> list[Any]:
    """The JSON of every request that came, in order."""
    return [json.loads(request.get_data()) for request, _response in server.log]


def integration(team: Team, kind: str, *, url: str | None = None, name: str = "") -> Integration:
    draft = Integration(team=team, type=kind, name=name or kind)
    return targets.save_integration(draft, url=url)


def loss_is_high(
    who: Cast, actions: Sequence[ActionDraft], *, run_name: str = "brisk-otter-1", name: str = "loss is stuck"
) -> Execution:
    """Loss of a run of Ada's is 0.75 at step 41, and a rule with these actions fires on it."""
    config = cast.threshold("loss", "above", 0.6)
    rule = cast.rule(who.project, "run_metric_threshold", config, name=name, actions=actions)
    cast.log(cast.new_run(who.project, user=who.ada, name=run_name), "loss", [0.75], first_step=41)
    cast.decide()
    return rule.executions.get()


def goes_to_production(
    who: Cast, actions: Sequence[ActionDraft], *, project: Project | None = None, alias: str = "production"
) -> Execution:
    """Max moves an alias in a collection, and a rule with these actions fires on it."""
    project = project or who.project
    rule = cast.rule(project, "alias_added", {"alias": f"^{alias}$"}, name="to production", actions=actions)
    fish = cast.collection(project)
    version, _new = create_version(fish, actor=who.max, metadata={"accuracy": 0.93})
    set_alias(fish, alias, version, actor=who.max)
    cast.decide()
    return rule.executions.get()


def error_of(delivery: Delivery) -> str:
    """What went wrong in the last attempt."""
    attempt = delivery.attempts.last()
    assert attempt is not None
    return attempt.error
