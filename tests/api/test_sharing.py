"""What is shared: registries of the organization, people in two teams, rules for everybody."""

from __future__ import annotations

import pytest

from registry.models import Registry
from registry.services.collections import set_registry_member
from registry.services.versions import link_version
from runs.models import Role
from runs.services import people
from tests import cast
from tests.api.house import Api, House, rows
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_a_registry_is_open_to_the_organization_or_to_its_members_alone(
    penguins: Cast, ada: Api, otto: Api, theirs: House
) -> None:
    shelf, registry = theirs.shelf, theirs.registry
    link_version(shelf, theirs.version, aliases=["champion"], actor=penguins.otto)
    paths = [
        f"registries/{registry.pk}/",
        f"collections/{shelf.pk}/",
        f"versions/{theirs.version.pk}/",
        f"collections/{shelf.pk}/aliases/champion/",
    ]

    assert {ada.get(path).status for path in paths} == {404}
    Registry.objects.filter(pk=registry.pk).update(visibility="organization")
    assert {ada.get(path).status for path in paths} == {200}
    # To look at, and no more.
    assert ada.patch(f"registries/{registry.pk}/", {"description": "ours"}).status == 403
    assert ada.put(f"collections/{shelf.pk}/tags/good/").status == 403
    assert ada.delete(f"collections/{shelf.pk}/links/{theirs.version.pk}/").status == 403

    Registry.objects.filter(pk=registry.pk).update(visibility="restricted")
    set_registry_member(registry, penguins.ada, role=Role.MEMBER)
    assert {ada.get(path).status for path in paths} == {200}
    assert ada.put(f"collections/{shelf.pk}/tags/good/").status == 200
    assert otto.get(paths[0]).status == 200


def test_a_version_seen_by_a_link_tells_nothing_of_the_place_it_was_made_in(
    penguins: Cast, ada: Api, theirs: House
) -> None:
    Registry.objects.filter(pk=theirs.registry.pk).update(visibility="organization")
    link_version(theirs.shelf, theirs.version, aliases=["champion"], actor=penguins.otto)
    version = f"versions/{theirs.version.pk}/"

    seen = ada.get(version)
    assert seen.status == 200
    assert seen.json["aliases"] == []
    assert "otter-alias" in Api(penguins.otto).get(version).json["aliases"]
    for foreign in (theirs.run.name, theirs.project.name, theirs.collection.name, "otters"):
        assert foreign not in seen.text
    assert ada.get(f"collections/{theirs.collection.pk}/").status == 404
    assert ada.get(f"runs/{theirs.run.pk}/").status == 404
    refused = ada.put(f"{version}tags/good/")
    assert refused.status == 403
    assert "otters" not in refused.text


def test_who_may_only_look_at_a_version_links_it_nowhere(penguins: Cast, ada: Api, vera: Api) -> None:
    made = cast.collection(penguins.project)
    version = ada.made("versions/", {"collection": made.pk})["id"]
    veras = cast.registry("veras", owner=penguins.vera)
    shelf = cast.collection(veras, "shelf")

    assert vera.post(f"collections/{shelf.pk}/links/", {"version": version}).status == 403
    people.set_member(penguins.team, penguins.vera, role=Role.MEMBER)
    assert vera.post(f"collections/{shelf.pk}/links/", {"version": version}).status == 201


def test_a_rule_of_one_team_uses_no_integration_of_another_even_for_a_person_in_both(
    penguins: Cast, ours: House, theirs: House
) -> None:
    people.set_member(penguins.otters, penguins.ada, role=Role.ADMIN)
    both = Api(penguins.ada)
    event = {"type": "run_status", "statuses": ["finished"]}
    hook = {"type": "webhook", "integration": theirs.integration.pk}
    scope = {"type": "project", "id": ours.project.pk}
    before = rows()

    for where in (scope, {"type": "team", "id": ours.team.pk}):
        refused = both.post("automations/", {"name": "n", "scope": where, "event": event, "actions": [hook]})
        assert refused.status == 400, refused
        assert list(refused.json) == ["actions"]
    refused = both.patch(f"automations/{ours.automation.pk}/", {"actions": [hook]})
    assert refused.status == 400
    # Moving the rule with its actions would do the same.
    moved = both.patch(
        f"automations/{ours.automation.pk}/", {"scope": {"type": "project", "id": theirs.project.pk}}
    )
    assert moved.status == 400, moved
    assert rows() == before
    ours.automation.refresh_from_db()
    assert ours.automation.project_id == ours.project.pk
    assert (
        both.post(
            "automations/",
            {
                "name": "n",
                "scope": {"type": "project", "id": theirs.project.pk},
                "event": event,
                "actions": [hook],
            },
        ).status
        == 201
    )


def test_who_may_only_look_at_a_team_sends_nothing_to_its_integrations(penguins: Cast, ours: House) -> None:
    """A registry belongs to many teams: what its rules send to needs a role of its own."""
    registry = cast.registry("veras", owner=penguins.vera)
    body = {
        "name": "n",
        "scope": {"type": "registry", "id": registry.pk},
        "event": {"type": "alias_added", "alias": "best"},
        "actions": [{"type": "webhook", "integration": ours.integration.pk}],
    }
    vera = Api(penguins.vera)
    assert vera.post("automations/", body).status == 403
    people.set_member(penguins.team, penguins.vera, role=Role.MEMBER)
    assert vera.post("automations/", body).status == 201


def test_an_execution_of_a_rule_for_everybody_is_seen_where_it_happened(
    penguins: Cast, everything: Api, ada: Api, otto: Api
) -> None:
    rule = everything.made(
        "automations/",
        {
            "name": "everywhere",
            "scope": {"type": "organization", "id": penguins.organization.pk},
            "event": {"type": "run_status", "statuses": ["running"]},
            "actions": [{"type": "noop"}],
        },
    )
    cast.new_run(penguins.project, user=penguins.ada)
    cast.decide()
    assert (
        ada.get(f"automations/{rule['id']}/").status == otto.get(f"automations/{rule['id']}/").status == 200
    )
    [execution] = ada.listed("executions/")
    assert otto.listed("executions/") == []
    assert otto.get(f"executions/{execution['id']}/").status == 404
    assert otto.get(f"executions/?automation={rule['id']}").json["results"] == []


def test_an_address_of_another_team_is_answered_like_one_of_nobody(penguins: Cast, max_: Api) -> None:
    body = {
        "scope": {"type": "project", "id": penguins.project.pk},
        "event": {"type": "run_status", "statuses": ["failed"]},
    }

    def asked(address: str) -> tuple[int, str]:
        answer = max_.post(
            "automations/", body | {"name": address, "actions": [{"type": "email", "to": [address]}]}
        )
        return answer.status, answer.text.replace(address, "")

    assert asked("ada")[0] == 201
    assert asked("otto") == asked("nobody")
    assert asked("otto@example.com") == asked("nobody@example.com")
    assert asked("otto")[0] == 400
