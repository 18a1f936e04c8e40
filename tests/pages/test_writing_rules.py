"""The page on which a rule is written: for whom, with which fields, and what it answers while one types."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from django.utils.datastructures import MultiValueDict

from automations.events.base import EVENTS
from automations.models import Automation, Execution, Inbox, Integration
from automations.ruleforms import names
from automations.services import rules
from runs.models import Project, User
from runs.services.projects import create_project
from tests import cast
from tests.api.house import superuser
from tests.automations.ruleforms import CONFIGS, to_webhook, written
from tests.cast import Cast
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = pytest.mark.django_db

NEW = "/automations/new/"


def sent(person: User, place: str, data: MultiValueDict[str, Any], button: str = "save") -> Any:
    fields = dict(data.lists()) | {"do": [button]}
    return Visitor(person).client.post(place, fields)


def fields_of(page: str) -> set[str]:
    """What stands in the form, by name."""
    form = page[page.index('<form id="rule"') :]
    return set(re.findall(r'<(?:input|select|textarea)[^>]* name="([^"]+)"', form))


# --- For whom -------------------------------------------------------------------------------------


def test_who_may_not_write_gets_neither_the_page_nor_a_link_to_it(penguins: Cast) -> None:
    shelf = cast.registry("models", owner=penguins.max)
    fish = cast.collection(shelf, "fish")
    places = {
        "/penguins/waddle/automations/": f"{NEW}?project={penguins.project.pk}",
        "/registries/models/automations/": f"{NEW}?registry={shelf.pk}",
        "/registries/models/": f"{NEW}?registry={shelf.pk}",
        "/registries/models/fish/": f"{NEW}?collection={fish.pk}",
        "/automations/": NEW,
    }
    for place, link in places.items():
        assert f'href="{link}"' in Visitor(penguins.max).sees(place), place
        assert 'id="rule"' in Visitor(penguins.max).sees(link)
        assert NEW not in Visitor(penguins.vera).sees(place), place
        assert Visitor(penguins.vera).status(link) == 403
        assert Visitor().status(link) == 302  # to the sign-in page


def test_a_place_that_one_does_not_see_is_not_found(penguins: Cast) -> None:
    for asked in (f"project={penguins.project.pk}", f"team={penguins.team.pk}", "registry=9", "project=x"):
        assert Visitor(penguins.otto).status(f"{NEW}?{asked}") == 404
    assert Visitor(penguins.otto).status(NEW) == 200


def test_a_rule_is_edited_by_who_may_write_where_it_lives(penguins: Cast) -> None:
    rule = cast.rule(penguins.project, "run_status", {"statuses": ["failed"]}, name="mine")
    place = f"/automations/{rule.pk}/edit/"
    assert f'href="{place}"' in Visitor(penguins.max).sees(f"/automations/{rule.pk}/")
    assert place not in Visitor(penguins.vera).sees(f"/automations/{rule.pk}/")
    data = written(penguins.max, penguins.project, "run_status", {"name": "theirs"})
    for person, status in ((penguins.otto, 404), (penguins.vera, 403), (penguins.max, 302)):
        assert sent(person, place, data).status_code == status
    rule.refresh_from_db()
    assert (rule.name, rule.config["statuses"]) == ("theirs", ["running", "failed"])


def test_a_form_from_elsewhere_is_refused(penguins: Cast) -> None:
    visitor = Visitor(penguins.max, enforce_csrf_checks=True)
    data = dict(written(penguins.max, penguins.project, "run_status").lists())
    for place in (NEW, "/automations/matches/?field=condition-run_name", "/automations/advice/"):
        assert visitor.client.post(place, data | {"do": ["save"]}).status_code == 403
    assert not Automation.objects.exists()


# --- What it shows --------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", CONFIGS)
def test_only_the_fields_of_the_chosen_event_are_there(penguins: Cast, event_type: str) -> None:
    page = Visitor(penguins.max).sees(f"{NEW}?project={penguins.project.pk}&event={event_type}")
    own = {f"condition-{name}" for name in EVENTS[event_type].config_form.base_fields}
    assert {name for name in fields_of(page) if name.startswith("condition-")} == own | {"condition-shown"}
    assert ("period" in fields_of(page)) is EVENTS[event_type].limited
    assert ("per_status" in fields_of(page)) is (event_type == "run_status")
    for field in EVENTS[event_type].config_form.base_fields.values():
        assert str(field.label) in page
    assert f'<option value="{event_type}" selected>{EVENTS[event_type].label}</option>' in page


def test_the_parts_come_in_their_order(penguins: Cast) -> None:
    page = Visitor(penguins.max).sees(f"{NEW}?project={penguins.project.pk}&event=run_status")
    parts = ["Event", "Scope", "Condition", "What it would have done", "Action", "Name"]
    assert re.findall(r"<h2>([^<]+)</h2>", page) == parts


def test_labels_are_those_of_the_semantics(penguins: Cast) -> None:
    page = Visitor(penguins.max).sees(NEW)
    for label in (
        "A new version is added to an artifact",
        "A new version is linked to a collection",
        "An artifact alias is added",
        "Run status change",
        "Run metrics threshold met",
        "Run metrics change threshold met",
        "Run metrics z-score threshold met",
        "Run metric is NaN or infinite",
    ):
        assert label in page


def test_a_chart_names_the_metric_and_only_metrics_are_watched(penguins: Cast) -> None:
    page = Visitor(penguins.max).sees(f"{NEW}?project={penguins.project.pk}&metric=val/loss&source=history")
    assert 'value="val/loss"' in page
    assert "Run metrics threshold met" in page
    assert "Run status change" not in page
    assert "An artifact alias is added" not in page


def test_a_preset_is_one_click_from_the_page_one_is_on(penguins: Cast) -> None:
    place = f"{NEW}?project={penguins.project.pk}&metric=val%2Floss"
    page = Visitor(penguins.max).sees(place)
    links = re.findall(r'href="(\?[^"]*preset=[^"]*)"', page)
    assert len(links) == 4  # a run that failed is no metric
    started = Visitor(penguins.max).sees(NEW + links[1].replace("&amp;", "&"))
    assert 'value="val/loss"' in started
    assert '<option value="run_metric_zscore" selected>' in started


def test_what_others_named_stays_text(penguins: Cast) -> None:
    rule = cast.rule(
        penguins.project,
        "run_metric_threshold",
        cast.threshold(MARKUP),
        name=MARKUP,
        actions=cast.sends(
            cast.webhook(penguins.team, "https://hooks.example.com/x", name=MARKUP), {MARKUP: MARKUP}
        ),
    )
    cast.log(cast.new_run(penguins.project, name=MARKUP), MARKUP, [1])
    assert_only_text(Visitor(penguins.max).sees(f"/automations/{rule.pk}/edit/"))
    data = written(
        penguins.max, penguins.project, "run_status", {"condition-run_name": "script", "name": MARKUP}
    )
    answer = sent(penguins.max, "/automations/matches/?field=condition-run_name", data)
    assert_only_text(answer.content.decode())
    assert "&lt;script&gt;" in answer.content.decode()


# --- Saved ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", CONFIGS)
def test_every_kind_of_rule_is_made_and_its_page_offers_to_fire_it(penguins: Cast, event_type: str) -> None:
    made = sent(penguins.max, NEW, written(penguins.max, penguins.project, event_type))
    rule = Automation.objects.get()
    assert made["Location"] == f"/automations/{rule.pk}/"
    page = Visitor(penguins.max).sees(made["Location"])
    assert f"/automations/{rule.pk}/test/" in page
    Visitor(penguins.max).submits(f"/automations/{rule.pk}/test/")
    assert Execution.objects.get().is_test


def test_what_was_typed_is_still_there_after_a_mistake(penguins: Cast) -> None:
    changes = {"condition-run_name": "a(", "name": "my rule", "description": "what for"}
    data = written(penguins.max, penguins.project, "run_status", changes)
    page = sent(penguins.max, NEW, data).content.decode()
    for kept in ('value="a("', 'value="my rule"', "what for", "RE2 cannot read this pattern: missing )"):
        assert kept in page
    assert not Automation.objects.exists()


def test_a_changed_event_brings_its_fields_without_scripts_and_without_complaints(penguins: Cast) -> None:
    data = written(penguins.max, penguins.project, "run_status", {"name": "", "event": "alias_added"})
    page = sent(penguins.max, NEW, data, "show").content.decode()
    assert "condition-alias" in fields_of(page)
    assert 'class="problem"' not in page
    assert not Automation.objects.exists()


def test_a_team_without_integrations_is_told_the_next_step(penguins: Cast) -> None:
    data = written(penguins.max, penguins.project, "run_status", {"action-0-type": "webhook"})
    page = sent(penguins.max, NEW, data, "show").content.decode()
    assert "There is no integration of type Webhook" in page
    assert "inbox:0" not in page
    assert "An admin of the team makes one." in page
    page = sent(penguins.ada, NEW, data, "show").content.decode()
    assert "inbox:0" in page
    page = sent(penguins.ada, NEW, data, "inbox:0").content.decode()
    hook = Integration.objects.get()
    assert f'<option value="{hook.pk}" selected>inbox</option>' in page
    assert Inbox.objects.count() == 1
    assert sent(penguins.max, NEW, data, "inbox:0").status_code == 403


NASTY = ["", " ", "\x00", "-1", "9" * 400, "[" * 20_000, "(" * 1001, "é\u202e${", "x:y:z", "1e999"]


def test_whatever_is_sent_is_refused_in_words(penguins: Cast) -> None:
    """In every field of a form with every kind of action: nothing is an error of ours."""
    hook = cast.webhook(penguins.team, "https://hooks.example.com/x")
    data = written(penguins.max, penguins.project, "run_metric_change", to_webhook(hook))
    for number, kind in enumerate(("slack", "email"), start=1):
        data.appendlist("action", str(number))
        data[f"action-{number}-type"] = data[f"action-{number}-content-shown"] = kind
        data.update(
            {f"action-{number}-content-{name}": "x" for name in ("message", "title", "to", "subject")}
        )
    place = "/automations/{}/"
    for index, name in enumerate([*data, "condition-moon", "seconds", "do"]):
        for value in itertools.islice(itertools.cycle(NASTY), 3 * index, 3 * index + 3):
            wrong = data.copy()
            wrong.setlist(name, [value])
            button = value if name == "do" else "save"
            page = place.format("advice" if index % 2 else "new")
            assert sent(penguins.max, page, wrong, button).status_code < 500, (name, value)


# --- While one types ------------------------------------------------------------------------------


def matches(person: User, data: MultiValueDict[str, Any], field: str) -> str:
    answer = sent(person, f"/automations/matches/?field={field}", data)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())).strip()


def test_a_pattern_says_what_it_matches(penguins: Cast) -> None:
    fish = cast.collection(penguins.project, "fish")
    version = cast.collection(penguins.project, "krill")
    for name in ("exp-1", "exp-2", "other"):
        cast.new_run(penguins.project, name=name)
    cast.new_run(create_project(penguins.otters, "dive"), name="exp-of-the-otters")
    assert fish.name != version.name
    said = [
        ("run_status", "condition-run_name", "^exp-", "It matches 2 of 3 names here: exp-2 exp-1"),
        ("run_status", "condition-run_name", "otters", "None yet: it matches none of the 3 names here."),
        ("run_status", "condition-run_name", "a(", "RE2 cannot read this pattern: missing ): a(."),
        (
            "run_status",
            "condition-run_name",
            "(?=a)",
            "RE2 cannot read this pattern: invalid perl operator: (?=.",
        ),
        ("run_status", "condition-run_name", "", ""),
        ("collection_created", "condition-name", "f", "It matches 1 of 2 names here: fish"),
        ("alias_added", "condition-alias", "x", "None yet: there are no names here to match."),
    ]
    for event_type, field, pattern, expected in said:
        data = written(penguins.max, penguins.project, event_type, {field: pattern})
        assert matches(penguins.max, data, field) == expected


def test_of_very_many_names_the_newest_are_looked_through(
    penguins: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LOOKED_THROUGH", 3)
    for number in range(5):
        cast.new_run(penguins.project, name=f"exp-{number}")
    data = written(penguins.max, penguins.project, "run_status", {"condition-run_name": "exp"})
    assert matches(penguins.max, data, "condition-run_name").endswith(
        "Only the newest ones were looked through."
    )


def test_names_of_a_place_that_one_may_not_write_to_are_not_told(penguins: Cast) -> None:
    cast.new_run(penguins.project, name="secret-run")
    data = written(penguins.max, penguins.project, "run_status", {"condition-run_name": "secret"})
    assert "secret-run" in matches(penguins.max, data, "condition-run_name")
    for person in (penguins.otto, penguins.vera):
        assert matches(person, data, "condition-run_name") == (
            "Choose a scope, and see which names it matches."
        )


@pytest.mark.parametrize("field", ["", "name", "condition-statuses", "condition-moon", "moon-run_name"])
def test_only_patterns_are_tried(penguins: Cast, field: str) -> None:
    data = written(penguins.max, penguins.project, "run_status")
    assert sent(penguins.max, f"/automations/matches/?field={field}", data).status_code == 404


ADVICE: list[tuple[str, dict[str, Any], str]] = [
    ("run_status", {}, "A run that fires when it starts is not reported again when it ends"),
    ("run_status", {"condition-statuses": ["failed"]}, ""),
    ("run_status", {"per_status": "on"}, ""),
    (
        "run_metric_threshold",
        {"condition-metric": "system.cpu", "condition-window": "5", "condition-source": "auto"},
        "5 values of a system metric are about 75 s.",
    ),
    (
        "run_metric_change",
        {"condition-source": "system", "condition-window": "10", "condition-prior_window": "50"},
        "60 values of a system metric are about 15 min.",
    ),
    ("run_metric_threshold", {}, ""),
    ("run_metric_zscore", {}, "The first values of a new run often stand out"),
    ("run_metric_zscore", {"condition-warmup": "5"}, ""),
    ("alias_added", {}, ""),
    ("run_metric_nonfinite", {}, ""),
    ("run_metric_threshold", {"condition-threshold": "x"}, ""),
]


@pytest.mark.parametrize(("event_type", "changes", "said"), ADVICE)
def test_what_may_not_mean_what_it_says_is_said_while_it_is_written(
    penguins: Cast, event_type: str, changes: dict[str, Any], said: str
) -> None:
    data = written(penguins.max, penguins.project, event_type, changes)
    page = sent(penguins.max, "/automations/advice/", data).content.decode()
    assert (said in page) if said else ("<p" not in page)


def example(penguins: Cast, event_type: str, changes: dict[str, Any]) -> str:
    data = written(penguins.max, penguins.project, event_type, changes)
    answer = sent(penguins.max, "/automations/example/?row=0", data)
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.mark.parametrize("event_type", CONFIGS)
def test_every_variable_of_an_event_has_an_example(penguins: Cast, event_type: str) -> None:
    """Also of a condition that is not complete, or wrong."""
    hook = cast.webhook(penguins.team, "https://hooks.example.com/x")
    own = EVENTS[event_type].all_variables()
    payload = json.dumps({name: f"${{{name.replace('*', 'key')}}}" for name in own})
    changes = to_webhook(hook, payload)
    for name in EVENTS[event_type].config_form.base_fields:
        changes[f"condition-{name}"] = ""
    shown = example(penguins, event_type, changes)
    assert "&quot;automation_name&quot;: &quot;made&quot;" in shown
    assert 'class="problem"' not in shown
    assert "stays empty" not in shown


def test_an_unknown_variable_is_named_with_the_nearest_known_one(penguins: Cast) -> None:
    hook = cast.webhook(penguins.team, "https://hooks.example.com/x")
    shown = example(penguins, "run_status", to_webhook(hook, '{"a": "${run_nam}"}'))
    assert "unknown variable ${run_nam}; did you mean ${run_name}?" in shown
    shown = example(penguins, "run_status", to_webhook(hook, '{"a": "${alias}"}'))
    assert "${alias} stays empty: this event has none." in shown
    assert "Enter a valid JSON." in example(penguins, "run_status", to_webhook(hook, "{"))


def test_an_example_is_shown_as_its_reader_sees_it(penguins: Cast) -> None:
    slack = {"action-0-type": "slack", "action-0-content-shown": "slack"}
    slack |= {"action-0-content-title": "${run_name} ended", "action-0-content-severity": "error"}
    assert "[Test] example-run ended" in example(penguins, "run_status", slack)
    email = {"action-0-type": "email", "action-0-content-shown": "email"}
    email |= {"action-0-content-subject": "${run_name}", "action-0-content-message": "at ${step}"}
    shown = example(penguins, "run_metric_threshold", email)
    assert "[Test] example-run" in shown
    assert "at 41" in shown


# --- What it costs --------------------------------------------------------------------------------


def test_the_page_costs_the_same_however_much_there_is(penguins: Cast, calm: None) -> None:
    place = f"{NEW}?project={penguins.project.pk}&event=run_metric_threshold"
    shelf = cast.registry(owner=penguins.ada)
    hook = cast.webhook(penguins.team, "https://hooks.example.com/x")
    rule = cast.rule(penguins.project, "run_metric_threshold", cast.threshold(), actions=cast.sends(hook))
    visitor = Visitor(penguins.ada)
    places = (place, f"/automations/{rule.pk}/edit/", NEW)
    counts = []
    for size in (60, 300):
        rows = (Project(team=penguins.team, name=f"p{size}-{number}") for number in range(size))
        Project.objects.bulk_create(rows)
        for number in range(size // 30):
            cast.collection(shelf, f"c{size}-{number}")
            cast.webhook(penguins.team, "https://hooks.example.com/x", name=f"hook {size}-{number}")
            cast.log(cast.new_run(penguins.project), f"metric/{number}", [1])
        rules.save_automation(rule, scope=penguins.project, actions=cast.sends(hook) * (size // 30))
        counts.append([visitor.queries(each) for each in places])
    assert counts[0] == counts[1]
    assert max(counts[1]) <= 20


def test_a_superuser_of_a_large_installation_is_offered_some_of_it(penguins: Cast) -> None:
    root = superuser()
    Project.objects.bulk_create(Project(team=penguins.team, name=f"p{number}") for number in range(500))
    assert Visitor(root).sees(NEW).count("<option") < 300
