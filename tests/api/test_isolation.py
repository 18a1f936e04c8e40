"""What belongs to another team does not exist: not by id, in a list, in a filter, in a body, or by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.api.house import Api, House, rows

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
        ("GET", f"versions/{version}/uses/", None),
        ("PUT", f"versions/{version}/uses/{run}/", None),
        ("DELETE", f"versions/{version}/uses/{run}/", None),
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
        ("versions/?used_by=", house.run.pk),
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
