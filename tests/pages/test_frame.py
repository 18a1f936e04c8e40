"""What all pages share: their policy, their errors, the scripts that they take out of packages."""

from __future__ import annotations

import re

import pytest
from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.test import Client

from config import policy
from runs.models import Team
from runs.services.people import create_team
from tests.cast import Cast, new_run

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def vera(penguins: Cast, client: Client) -> Client:
    """Somebody who may look."""
    client.force_login(penguins.vera)
    return client


@pytest.mark.parametrize(
    "place", ["/", "/search/?q=a", "/penguins/", "/penguins/waddle/", "/accounts/login/", "/nothing/here/"]
)
def test_no_page_may_run_what_is_written_on_it(vera: Client, place: str) -> None:
    answer = vera.get(place)
    assert answer.headers[policy.HEADER] == policy.STRICT
    assert "unsafe" not in policy.STRICT
    page = answer.content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))


def test_pages_of_packages_have_a_policy_that_lets_them_work(client: Client, penguins: Cast) -> None:
    client.force_login(penguins.ada)
    assert client.get("/admin/login/").headers[policy.HEADER] != policy.STRICT
    assert client.get("/api/v1/docs/").headers[policy.HEADER] != policy.STRICT


@pytest.mark.parametrize("include", ["includes/htmx.html", "includes/charts.html"])
def test_scripts_come_out_of_installed_packages(include: str) -> None:
    sources = re.findall(r'src="/static/([^"]+)"', render_to_string(include))
    assert sources
    assert all(finders.find(source) for source in sources)


@pytest.mark.parametrize("place", ["/penguins/", "/penguins/waddle/", "/penguins/waddle/runs/{run}/"])
def test_what_one_may_not_see_is_not_found(client: Client, penguins: Cast, place: str) -> None:
    place = place.format(run=new_run(penguins.project).run_id)
    assert client.get(place).status_code == 302  # to the sign-in page
    client.force_login(penguins.vera)
    assert client.get(place).status_code == 200
    client.force_login(penguins.otto)
    answer = client.get(place)
    assert answer.status_code == 404
    assert b"not yours to see" in answer.content


@pytest.mark.parametrize("place", ["/api/v1/", "/api/v1/no-such/", "/API/v1/runs/x/", "/inbox/a/b/"])
def test_nothing_of_a_team_answers_for_the_installations_own_paths(client: Client, place: str) -> None:
    assert client.get(place).status_code == 404


def test_a_team_that_has_such_a_name_already_does_not_take_them_over(vera: Client, penguins: Cast) -> None:
    Team.objects.filter(pk=penguins.team.pk).update(name="profile")
    assert vera.get("/profile/waddle/").status_code == 404


def test_names_in_any_script_are_paths(vera: Client, penguins: Cast) -> None:
    team = create_team("ペンギン & <b>", owner=penguins.vera)
    page = vera.get("/").content.decode()
    assert "ペンギン &amp; &lt;b&gt;" in page
    (link,) = set(re.findall(r'href="(/%E3[^"]*)"', page))
    assert vera.get(link.replace("&amp;", "&")).context["team"] == team


def test_a_path_without_its_last_slash_leads_there(vera: Client) -> None:
    assert vera.get("/penguins/waddle").headers["Location"] == "/penguins/waddle/"
