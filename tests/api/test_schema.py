"""The schema is complete, and the readable page shows it."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.test import Client

from tests.api.house import Api


def test_the_schema_is_made_without_a_warning() -> None:
    out = io.StringIO()
    call_command("spectacular", "--fail-on-warn", "--validate", "--format", "openapi-json", stdout=out)
    schema = json.loads(out.getvalue())
    assert schema["openapi"].startswith("3.1")
    assert schema["info"]["title"] == "Tripline"


@pytest.mark.django_db
def test_the_schema_and_its_page_are_for_everybody() -> None:
    answer = Api().get("schema/")
    assert answer.status == 200
    paths = answer.json["paths"]
    assert {"/api/v1/runs/", "/api/v1/runs/{id}/metrics/", "/api/v1/automations/"} <= set(paths)
    page = Client().get("/api/v1/docs/")
    assert page.status_code == 200
    assert b"swagger" in page.content
    # Its scripts come out of the installation.
    assert b"cdn" not in page.content.lower()


@pytest.mark.django_db
def test_every_operation_may_refuse_and_says_in_which_form() -> None:
    for path, operations in Api().get("schema/").json["paths"].items():
        for verb, described in operations.items():
            assert "4XX" in described["responses"], f"{verb} {path}"


@pytest.mark.django_db
def test_events_and_actions_are_described_by_type() -> None:
    schemas = Api().get("schema/").json["components"]["schemas"]
    variants = schemas["AutomationRequest"]["properties"]["event"]["oneOf"]
    threshold = next(v for v in variants if v["properties"]["type"]["const"] == "run_metric_threshold")
    assert set(threshold["required"]) == {"type", "metric", "comparison", "threshold"}
    assert threshold["properties"]["window"]["default"] == 5
    assert threshold["additionalProperties"] is False
    actions = schemas["ActionRequest"]["oneOf"]
    assert {"webhook", "slack", "email", "noop"} <= {v["properties"]["type"]["const"] for v in actions}
