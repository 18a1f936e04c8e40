"""What belongs to another team does not exist: not by id, in a list, in a filter, in a body, or by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from registry.models import Registry
from registry.services.collections import set_registry_member
from registry.services.versions import link_version
from runs.models import Role
from runs.services import people
from tests import cast
from tests.api.house import Api, House, rows
from tests.cast import Cast

NOWHERE = 987_654_321


def places(house: House) -> dict[str, int]:
    """Every resource with the id of the house's one."""
    return {
        "teams": house.team.pk,
        f"teams/{house.team.pk}/members": house.member.pk,
        "keys": house.key.pk,
        "projects": house.project.pk,
        "runs": house.run.pk,
        "registries": house.registry.pk,
        f"registries/{house.registry.pk}/members": house.registry.members.get().pk,
        "collections": house.collection.pk,
        "versions": house.version.pk,
        "secrets": house.secret.pk,
        "integrations": house.integration.pk,
        "inboxes": house.inbox.pk,
        "automations": house.automation.pk,
        "executions": house.execution.pk,
        "deliveries": house.delivery.pk,
        "events": house.event.pk,
    }


def questions(house: House) -> list[tuple[str, str, object]]:
    """Everything that can be asked about one object of the house: verb, path, body."""
    asked: list[tuple[str, str, object]] = []
    for place, pk in places(house).items():
        asked.append(("GET", f"{place}/{pk}/", None))
        if place not in {"keys", "versions", "executions", "deliveries", "events"}:
            asked.append(("PATCH", f"{place}/{pk}/", {"role": "admin"} if "members" in place else {}))
        if place not in {"teams", "projects", "registries", "versions", "executions", "deliveries", "events"}:
            asked.append(("DELETE", f"{place}/{pk}/", None))
    run, collection, version = house.run.pk, house.collection.pk, house.version.pk
    member = f"{house.team.pk}/members"
    asked += [
        ("GET", f"teams/{member}/", None),
        ("POST", f"teams/{member}/", {"user": "vera", "role": "viewer"}),
        ("GET", f"registries/{house.registry.pk}/members/", None),
        ("POST", f"registries/{house.registry.pk}/members/", {"user": "vera", "role": "admin"}),
        ("GET", f"runs/{run}/metrics/", None),
        ("GET", f"runs/{run}/metrics/?name=otter-loss", None),
        ("POST", f"runs/{run}/metrics/", {"points": [{"values": {"loss": 1}}]}),
        ("POST", f"runs/{run}/heartbeat/", None),
        ("POST", f"runs/{run}/restore/", None),
        ("PUT", f"collections/{collection}/tags/good/", None),
        ("DELETE", f"collections/{collection}/tags/otter-tag/", None),
        ("GET", f"collections/{collection}/aliases/latest/", None),
        ("PUT", f"collections/{collection}/aliases/best/", {"version": version}),
        ("DELETE", f"collections/{collection}/aliases/latest/", None),
        ("POST", f"collections/{house.shelf.pk}/links/", {"version": version}),
        ("DELETE", f"collections/{house.shelf.pk}/links/{version}/", None),
        ("POST", f"collections/{collection}/restore/", None),
        ("PATCH", f"versions/{version}/", {"description": "mine"}),
        ("PUT", f"versions/{version}/tags/good/", None),
        ("DELETE", f"versions/{version}/tags/otter-tag/", None),
        ("PUT", f"versions/{house.draft.pk}/files/model.bin", None),
        ("GET", f"versions/{version}/files/model.bin", None),
        ("POST", f"versions/{house.draft.pk}/commit/", None),
        ("POST", f"integrations/{house.integration.pk}/enable/", None),
        ("POST", f"integrations/{house.integration.pk}/disable/", None),
        ("POST", f"integrations/{house.integration.pk}/test/", None),
        ("GET", f"inboxes/{house.inbox.pk}/requests/", None),
        ("POST", f"automations/{house.automation.pk}/test/", None),
        ("GET", f"automations/{house.automation.pk}/explain/?run={run}", None),
        ("POST", f"executions/{house.execution.pk}/redeliver/", None),
    ]
    return asked


@pytest.mark.django_db
def test_an_object_of_another_team_is_answered_like_one_that_is_nowhere(
    ada: Api, ours: House, theirs: House
) -> None:
    before = rows()
    for verb, path, body in questions(theirs):
        foreign = ada.ask(verb, path, body)
        assert foreign.status == 404, foreign
        # The first id in the path is the object's.
        nowhere = ada.ask(verb, re.sub(r"/[0-9]+/", f"/{NOWHERE}/", path, count=1), body)
        assert (foreign.status, foreign.json) == (nowhere.status, nowhere.json), foreign
    assert rows() == before


@pytest.mark.django_db
def test_the_same_questions_about_ones_own_are_no_404(ada: Api, ours: House) -> None:
    ada.put(f"versions/{ours.draft.pk}/files/model.bin")
    for verb, path, body in questions(ours):
        if verb == "DELETE" or "metrics/?name" in path or path.endswith(f"{ours.version.pk}/files/model.bin"):
            continue
        own = ada.ask(verb, path, body)
        assert own.status < 400, own


@pytest.mark.django_db
def test_no_list_shows_anything_of_another_team(ada: Api, ours: House, theirs: House) -> None:
    for place, pk in places(ours).items():
        answer = ada.get(f"{place}/")
        assert answer.status == 200
        assert pk in [row["id"] for row in answer.json["results"]], place
        assert "otter" not in answer.text.lower(), answer
        assert "otto" not in answer.text.lower(), answer
        own = ada.get(f"{place}/{pk}/")
        assert own.status == 200
        assert "otter" not in own.text.lower(), own


def filters(house: House) -> list[tuple[str, int | str]]:
    return [
        ("keys/?team=", house.team.pk),
        ("projects/?team=", house.team.name),
        ("runs/?project=", house.project.pk),
        ("collections/?project=", house.project.pk),
        ("collections/?registry=", house.registry.pk),
        ("versions/?collection=", house.collection.pk),
        ("versions/?run=", house.run.pk),
        ("automations/?project=", house.project.pk),
        ("automations/?registry=", house.registry.pk),
        ("automations/?collection=", house.collection.pk),
        ("executions/?automation=", house.automation.pk),
        ("executions/?run=", house.run.pk),
        ("executions/?version=", house.version.pk),
        ("events/?project=", house.project.pk),
        ("events/?registry=", house.registry.pk),
    ]


@pytest.mark.django_db
def test_filtering_by_what_belongs_to_another_team_is_not_found(ada: Api, ours: House, theirs: House) -> None:
    for (path, own), (_path, foreign) in zip(filters(ours), filters(theirs), strict=True):
        assert ada.get(f"{path}{own}").status == 200
        refused = ada.get(f"{path}{foreign}")
        nowhere = ada.get(f"{path}{NOWHERE}")
        assert refused.status == nowhere.status == 404, refused
        assert refused.json == nowhere.json
        assert list(refused.json) == [path.partition("?")[2].rstrip("=")]


def bodies(house: House) -> list[tuple[str, str, str, Mapping[str, object]]]:
    """Every reference that a body can hold: verb, path, the field that is named, the body."""
    event = {"type": "run_status", "statuses": ["finished"]}
    hook = {"type": "webhook", "integration": house.integration.pk}
    penguin_team = {"team": "penguins"}
    return [
        ("POST", "keys/", "team", {"name": "n", "team": house.team.pk}),
        ("POST", "projects/", "team", {"name": "n", "team": house.team.name}),
        ("POST", "runs/", "project", {"project": house.project.pk}),
        ("POST", "runs/", "project", {"project": f"{house.team.name}/new"}),
        ("POST", "runs/", "project", {"project": f"{house.team.name}/{house.project.name}"}),
        ("POST", "collections/", "project", {"name": "n", "project": house.project.pk}),
        ("POST", "collections/", "registry", {"name": "n", "registry": house.registry.pk}),
        ("POST", "versions/", "collection", {"collection": house.collection.pk}),
        ("POST", "versions/", "run", {"collection": "OURS", "run": house.run.pk}),
        ("PUT", "collections/{OURS}/aliases/best/", "version", {"version": house.version.pk}),
        ("POST", "collections/{SHELF}/links/", "version", {"version": house.version.pk}),
        ("POST", "secrets/", "team", {"name": "n", "team": house.team.name, "value": "v"}),
        (
            "POST",
            "integrations/",
            "team",
            {"name": "n", "type": "webhook", "team": house.team.name, "url": "https://example.com/"},
        ),
        (
            "POST",
            "integrations/",
            "signing_secret",
            penguin_team
            | {"name": "n", "type": "webhook", "url": "https://example.com/"}
            | {"signing_secret": house.secret.name},
        ),
        ("POST", "inboxes/", "team", {"name": "n", "team": house.team.name}),
        *(
            ("POST", "automations/", "scope", {"name": "n", "event": event, "scope": scope})
            for scope in (
                {"type": "project", "id": house.project.pk},
                {"type": "team", "id": house.team.pk},
                {"type": "registry", "id": house.registry.pk},
                {"type": "collection", "id": house.collection.pk},
            )
        ),
        (
            "POST",
            "automations/",
            "integration",
            {"name": "n", "event": event, "scope": {"type": "project", "id": "PROJECT"}, "actions": [hook]},
        ),
        ("PATCH", "automations/{RULE}/", "integration", {"actions": [hook]}),
        ("POST", "automations/{RULE}/test/", "event", {"event": house.event.pk}),
        ("PATCH", "automations/{RULE}/", "scope", {"scope": {"type": "project", "id": house.project.pk}}),
        (
            "POST",
            "deliveries/recover/",
            "integration",
            {"integration": house.integration.pk, "since": "2026-01-01T00:00:00Z"},
        ),
    ]


@pytest.mark.django_db
def test_a_reference_to_what_belongs_to_another_team_is_not_found_and_named(
    ada: Api, ours: House, theirs: House
) -> None:
    before = rows()
    words = {"OURS": ours.collection.pk, "SHELF": ours.shelf.pk, "RULE": ours.automation.pk}

    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {name: filled(item) for name, item in value.items()}
        return {"OURS": ours.collection.pk, "PROJECT": ours.project.pk}.get(str(value), value)

    for verb, path, field, body in bodies(theirs):
        refused = ada.ask(verb, path.format(**words), filled(body))
        assert refused.status == 404, refused
        assert list(refused.json) == [field], refused
    assert rows() == before


@pytest.mark.django_db
def test_a_reference_to_another_team_is_answered_like_one_to_nothing(ada: Api, theirs: House) -> None:
    for place, field, foreign, nothing in [
        ("runs/", "project", theirs.project.pk, NOWHERE),
        ("projects/", "team", theirs.team.name, "nobody"),
        ("secrets/", "team", theirs.team.name, "nobody"),
    ]:
        rest = {} if place == "runs/" else {"name": "n", "value": "v"}
        if place == "projects/":
            rest.pop("value")
        refused = ada.post(place, {field: foreign, **rest})
        assert refused.status == 404
        assert refused.json == ada.post(place, {field: nothing, **rest}).json
    path = ada.post("runs/", {"project": f"{theirs.team.name}/x"})
    assert (
        path.json["project"][0].replace("otters", "nobody")
        == (ada.post("runs/", {"project": "nobody/x"}).json["project"][0])
    )


@pytest.mark.django_db
def test_options_offer_no_choices_of_another_team(ada: Api, ours: House, theirs: House) -> None:
    for place, pk in places(ours).items():
        for path in (f"{place}/", f"{place}/{pk}/"):
            answer = ada.ask("OPTIONS", path)
            assert answer.status == 200, answer
            assert "otter" not in answer.text.lower()


@pytest.mark.django_db
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


@pytest.mark.django_db
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


@pytest.mark.django_db
def test_who_may_only_look_at_a_version_links_it_nowhere(penguins: Cast, ada: Api, vera: Api) -> None:
    made = cast.collection(penguins.project)
    version = ada.made("versions/", {"collection": made.pk})["id"]
    veras = cast.registry("veras", owner=penguins.vera)
    shelf = cast.collection(veras, "shelf")

    assert vera.post(f"collections/{shelf.pk}/links/", {"version": version}).status == 403
    people.set_member(penguins.team, penguins.vera, role=Role.MEMBER)
    assert vera.post(f"collections/{shelf.pk}/links/", {"version": version}).status == 201


@pytest.mark.django_db
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


@pytest.mark.django_db
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


@pytest.mark.django_db
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
