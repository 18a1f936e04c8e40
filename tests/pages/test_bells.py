"""The bell on a chart: a rule on its metric is made from there (R23), one on a status is not (R19)."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cast import Cast, log, new_run
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("calm"), pytest.mark.once]

_BELL = re.compile(r'<a class="bell" href="([^"]+)" aria-label="([^"]+)"')


def bells(page: str) -> dict[str, dict[str, str]]:
    """What each bell of the page asks for, by its accessible name."""
    found = {}
    for href, label in _BELL.findall(page):
        address = urlsplit(unescape(href))
        assert address.path == "/automations/new/"
        found[unescape(label)] = {name: values[0] for name, values in parse_qs(address.query).items()}
    return found


def test_every_chart_of_a_run_has_a_bell_that_knows_its_metric(penguins: Cast) -> None:
    run = new_run(penguins.project)
    for name in ("val/loss", "a b&c=d"):
        log(run, name, [1.0])
    log(run, "gpu.0.temp", [50.0], source="system")
    common = {"project": str(penguins.project.pk), "event": "run_metric_threshold"}
    assert bells(Visitor(penguins.max).sees(run.page)) == {
        "Make an automation on val/loss": {**common, "metric": "val/loss", "source": "history"},
        "Make an automation on a b&c=d": {**common, "metric": "a b&c=d", "source": "history"},
        "Make an automation on gpu.0.temp": {**common, "metric": "gpu.0.temp", "source": "system"},
    }


def test_compared_runs_have_bells_too(penguins: Cast) -> None:
    runs = [new_run(penguins.project) for _number in range(2)]
    for run in runs:
        log(run, "loss", [1.0])
    place = f"/penguins/waddle/compare/?run={runs[0].run_id}&run={runs[1].run_id}"
    assert list(bells(Visitor(penguins.max).sees(place))) == ["Make an automation on loss"]


def test_only_who_may_write_sees_a_bell(penguins: Cast) -> None:
    run = new_run(penguins.project)
    log(run, "loss", [1.0])
    assert len(bells(Visitor(penguins.ada).sees(run.page))) == 1
    assert bells(Visitor(penguins.vera).sees(run.page)) == {}
    assert 'data-name="loss"' in Visitor(penguins.vera).sees(run.page)


def test_no_bell_offers_a_rule_on_a_status(penguins: Cast) -> None:
    run = new_run(penguins.project)
    log(run, "loss", [1.0])
    page = Visitor(penguins.ada).sees(run.page)
    assert bells(page)
    assert "run_status" not in page


def test_a_hostile_metric_stays_text(penguins: Cast) -> None:
    run = new_run(penguins.project)
    log(run, MARKUP, [1.0])
    page = Visitor(penguins.ada).sees(run.page)
    assert bells(page)[f"Make an automation on {MARKUP}"]["metric"] == MARKUP
    assert_only_text(page)


def test_many_charts_cost_no_more_queries(penguins: Cast) -> None:
    visitor, run = Visitor(penguins.max), new_run(penguins.project)
    log(run, "loss", [1.0])
    few = visitor.queries(run.page)
    for number in range(10):
        log(run, f"m{number}", [1.0])
    assert visitor.queries(run.page) == few
    assert len(bells(visitor.sees(run.page))) == 11
