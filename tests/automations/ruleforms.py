"""Somebody before the form of a rule: what the browser sends of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.datastructures import MultiValueDict

from automations.models import Integration
from automations.ruleforms.rule import RuleForm, Start
from automations.services.rules import ActionDraft
from runs.models import User

# For every type what it requires, and options that are none of the defaults.
CONFIGS: dict[str, dict[str, Any]] = {
    "version_added": {"alias": "^best$"},
    "version_linked": {},
    "version_unlinked": {"alias": "prod"},
    "alias_added": {"alias": "^europe.*"},
    "alias_removed": {"alias": "latest"},
    "tag_added": {"tag": "^本番$"},
    "tag_removed": {"tag": "a b"},
    "collection_created": {"name": "^fish"},
    "collection_tag_added": {"tag": "x"},
    "collection_tag_removed": {"tag": "x"},
    "run_status": {"statuses": ["running", "failed"], "user": "ada", "run_name": "^exp-"},
    "run_metric_threshold": {
        "metric": "val/loss",
        "aggregation": "max",
        "window": 7,
        "comparison": "not_equal",
        "threshold": -1e-300,
        "warmup": 3,
        "hold": 2,
        "source": "history",
    },
    "run_metric_change": {
        "metric": "loss ",
        "window": 3,
        "prior_window": 4,
        "direction": "any",
        "change_type": "absolute",
        "threshold": 0.1,
    },
    "run_metric_zscore": {"metric": "loss", "baseline": "values", "direction": "either", "threshold": 2.5},
    "run_metric_nonfinite": {"metric": None, "source": "system"},
}


def posted(form: RuleForm) -> MultiValueDict[str, Any]:
    """What a browser sends of the form as it is shown: everything, once."""
    data: MultiValueDict[str, Any] = MultiValueDict()
    parts = [form.basics, form.event, form.place]
    parts += [form.limits] if form.is_limited else []
    typed = [form.condition_form] if form.condition_form else []
    for row in form.actions.rows:
        data.appendlist("action", row.key)
        parts.append(row.head)
        typed += [row.typed] if row.typed else []
    for each in typed:
        parts.append(each.form)
        data[each.shown_name] = each.entry.key
    for part in parts:
        for bound in part:
            _send(data, bound)
    return data


def _send(data: MultiValueDict[str, Any], bound: Any) -> None:
    value = bound.value()
    if value is False:
        return  # an empty box is not sent
    for item in value if isinstance(value, list) else ["" if value is None else value]:
        data.appendlist(bound.html_name, str(item))


def written(
    person: User, scope: Any, event_type: str, changes: Mapping[str, Any] | None = None
) -> MultiValueDict[str, Any]:
    """A form that is filled in for this event, with some fields changed; a list for several values."""
    start = Start(
        event_type=event_type,
        config=CONFIGS[event_type],
        scope=scope,
        name="made",
        actions=[ActionDraft("noop")],
    )
    data = posted(RuleForm(person, start=start))
    for name, value in (changes or {}).items():
        data.setlist(name, value if isinstance(value, list) else [value])
    return data


def to_webhook(integration: Integration, payload: str = "{}") -> dict[str, Any]:
    return {
        "action-0-type": "webhook",
        "action-0-integration": str(integration.pk),
        "action-0-content-shown": "webhook",
        "action-0-content-payload": payload,
        "action-0-content-order": "any",
    }
