"""What each scope watches (R1–R3, R6), and in which order several rules fire."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from automations.access import Scope
from automations.models import Execution
from registry.services.collections import set_alias
from registry.services.versions import create_version, link_version
from runs.services.people import create_team
from runs.services.projects import create_project
from tests import cast
from tests.cast import Cast, fired, log, new_run, rule, threshold

pytestmark = pytest.mark.django_db


def test_a_run_is_seen_by_its_project_its_team_and_its_organization(penguins: Cast) -> None:
    elsewhere = create_project(penguins.team, "dive")
    foreign = create_project(penguins.otters, "raft")
    scopes: list[Scope] = [
        penguins.project,
        elsewhere,
        foreign,
        penguins.team,
        penguins.otters,
        penguins.organization,
    ]
    rules = [rule(scope, "run_metric_threshold", threshold(), name=str(scope)) for scope in scopes]
    log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    assert [fired(automation) for automation in rules] == [1, 0, 0, 1, 0, 1]


def test_another_organization_sees_nothing(penguins: Cast) -> None:
    from runs.models import Organization

    other = Organization.objects.create(name="elsewhere")
    team = create_team("walruses", organization=other)
    rules = [rule(scope, "run_status", {"statuses": ["running"]}) for scope in (other, team)]
    home = rule(penguins.organization, "run_status", {"statuses": ["running"]})
    new_run(penguins.project)
    cast.decide()
    assert [fired(automation) for automation in (*rules, home)] == [0, 0, 1]


def test_an_alias_is_seen_where_its_collection_lies(penguins: Cast) -> None:
    fish, krill = cast.collection(penguins.project, "fish"), cast.collection(penguins.project, "krill")
    registry = cast.registry()
    models, others = cast.collection(registry, "models"), cast.collection(registry, "others")
    scopes: dict[str, Scope] = {
        "fish": fish, "krill": krill, "models": models, "others": others,
        "project": penguins.project, "registry": registry, "other registry": cast.registry("archive"),
        "team": penguins.team, "other team": penguins.otters, "organization": penguins.organization,
    }  # fmt: skip
    rules = {
        name: rule(scope, "alias_added", {"alias": "^production$"}, name=name)
        for name, scope in scopes.items()
    }
    version, _created = create_version(fish, actor=None)
    link_version(models, version, actor=None)
    cast.decide()
    assert not any(fired(automation) for automation in rules.values())

    set_alias(fish, "production", version, actor=None)
    cast.decide()
    assert {name for name, automation in rules.items() if fired(automation)} == {
        "fish", "project", "team", "organization",
    }  # fmt: skip

    Execution.objects.all().delete()
    set_alias(models, "production", version, actor=None)
    cast.decide()
    assert {name for name, automation in rules.items() if fired(automation)} == {
        "models", "registry", "organization",
    }  # fmt: skip


def test_a_project_rule_watches_collections_and_runs_made_later(penguins: Cast) -> None:
    on_alias = rule(penguins.project, "alias_added", {"alias": "^latest$"})
    on_run = rule(penguins.project, "run_status", {"statuses": ["running"]})
    create_version(cast.collection(penguins.project, "made-later"), actor=None)
    new_run(penguins.project)
    cast.decide()
    assert (fired(on_alias), fired(on_run)) == (1, 1)


@pytest.mark.parametrize(
    ("pattern", "alias", "fires"),
    [
        ("^europe.*", "europe-west", 1),
        ("^europe.*", "west-europe", 0),
        ("europe", "west-europe", 1),
        ("Europe", "west-europe", 0),
        ("(?i)Europe", "west-europe", 1),
        ("^production$", "production-2", 0),
        ("本", "本番", 1),
        (".", "x", 1),
    ],
)
def test_the_alias_regex_is_an_unanchored_search(
    penguins: Cast, pattern: str, alias: str, fires: int
) -> None:
    fish = cast.collection(penguins.project)
    version, _created = create_version(fish, actor=None)
    automation = rule(fish, "alias_added", {"alias": pattern})
    set_alias(fish, alias, version, actor=None)
    cast.decide()
    assert fired(automation) == fires


def test_several_aliases_in_one_call_are_one_event_each(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    automation = rule(fish, "alias_added", {"alias": "-"})
    create_version(fish, actor=None, aliases=["eu-1", "eu-2", "best"])
    cast.decide()
    assert fired(automation) == 2


def test_several_rules_fire_in_creation_order_whatever_their_scope(penguins: Cast) -> None:
    scopes: list[Scope] = [penguins.organization, penguins.project, penguins.team, penguins.project]
    rules = [
        rule(scope, "run_metric_threshold", threshold(), name=name)
        for name, scope in zip("zyxw", scopes, strict=True)
    ]
    log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    order = list(Execution.objects.order_by("pk").values_list("automation", flat=True))
    assert order == [automation.pk for automation in rules]

    on_alias = [
        rule(penguins.team, "alias_added", {"alias": "latest"}, name="b"),
        rule(penguins.project, "alias_added", {"alias": "latest"}, name="a"),
    ]
    create_version(cast.collection(penguins.project), actor=None)
    cast.decide()
    order = list(Execution.objects.order_by("pk").values_list("automation", flat=True))
    assert order[4:] == [automation.pk for automation in on_alias]


@pytest.mark.parametrize("where", ["registry", "collection"])
@pytest.mark.parametrize(
    ("event_type", "config"),
    [("run_status", {"statuses": ["failed"]}), ("run_metric_threshold", threshold())],
)
def test_runs_cannot_be_watched_in_a_registry_or_a_collection(
    penguins: Cast, where: str, event_type: str, config: dict[str, object]
) -> None:
    registry = cast.registry()
    scope = registry if where == "registry" else cast.collection(penguins.project)
    with pytest.raises(ValidationError) as refusal:
        rule(scope, event_type, config)
    assert list(refusal.value.message_dict) == ["scope"]


def test_a_rule_name_is_taken_once_in_its_scope(penguins: Cast) -> None:
    from runs.errors import Conflict

    rule(penguins.project, "run_status", {"statuses": ["failed"]}, name="watch")
    rule(penguins.team, "run_status", {"statuses": ["failed"]}, name="watch")
    with pytest.raises(Conflict):
        rule(penguins.project, "run_status", {"statuses": ["failed"]}, name="watch")


def test_an_unknown_event_type_is_refused_with_the_nearest_one(penguins: Cast) -> None:
    with pytest.raises(ValidationError) as refusal:
        rule(penguins.project, "run_statuses", {})
    assert "run_status" in refusal.value.message_dict["event"][0]
