"""The example's automations: every kind of event, scope, action and mode."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from automations.access import Scope
from automations.models import Automation, Integration, Mode
from automations.services import rules
from automations.services.rules import ActionDraft
from config.demo.cast import Cast, Crew
from registry.models import Collection
from runs.models import User

_RUN = {"rule": "${automation_name}", "run": "${run_name}", "status": "${run_status}", "see": "${run_url}"}
_METRIC = {**_RUN, "why": "${metric_filter}", "value": "${metric_value}", "step": "${step}"}
_VERSION = {
    "rule": "${automation_name}",
    "version": "${artifact_version}",
    "by": "${event_author}",
    "see": "${artifact_url}",
}


def rule(
    scope: Scope,
    name: str,
    event_type: str,
    config: Mapping[str, Any],
    actions: list[ActionDraft],
    *,
    by: User,
    **options: Any,
) -> Automation:
    draft = Automation(name=name, event_type=event_type, config=dict(config), created_by=by, **options)
    return rules.save_automation(draft, scope=scope, actions=actions)


def post(to: Integration, payload: Mapping[str, Any], *, order: str = "any") -> ActionDraft:
    return ActionDraft("webhook", to, {"payload": dict(payload), "order": order})


def say(to: Integration, message: str, *, severity: str = "info") -> ActionDraft:
    return ActionDraft("slack", to, {"title": "${automation_name}", "message": message, "severity": severity})


def write(to: Crew, subject: str, message: str) -> ActionDraft:
    config = {"to": [to.lead.username], "subject": subject, "message": message}
    return ActionDraft("email", to.mail, config)


def arm(cast: Cast, *, until: datetime) -> None:
    """Those that were there from the beginning; `until` ends a rule's silence."""
    _classifier_rules(cast.seabirds)
    _language_rules(cast.voyagers, until)
    _registry_rules(cast)
    _wide_rules(cast)
    _live_rules(cast)


def _classifier_rules(crew: Crew) -> None:
    project, lead = crew.project, crew.lead
    best = {"metric": "val/accuracy", "aggregation": "none", "comparison": "above_or_equal", "threshold": 0.9}
    rule(
        project,
        "accuracy passes 90 %",
        "run_metric_threshold",
        best,
        [post(crew.hook, _METRIC)],
        by=lead,
        period=None,
    )
    hot = {"metric": "gpu.0.temp", "source": "system", "comparison": "above", "threshold": 83, "hold": 3}
    rule(
        project,
        "a GPU runs hot",
        "run_metric_threshold",
        hot,
        [say(crew.chat, "${run_name}: ${metric_value} °C", severity="warn")],
        by=lead,
    )
    rises = {"metric": "val/loss", "window": 3, "prior_window": 6, "direction": "increase", "threshold": 0.15}
    message = "${run_name} learns its training set by heart: ${metric_filter}"
    rule(
        project,
        "validation loss rises",
        "run_metric_change",
        rises,
        [say(crew.chat, message, severity="warn"), post(crew.hook, _METRIC)],
        by=crew.people[1],
        description="Stop early, and save a night of the machine.",
    )
    falls = {"metric": "train/loss", "direction": "decrease", "threshold": 0.3, "warmup": 20}
    rule(
        project,
        "tried out: loss falls by a third",
        "run_metric_change",
        falls,
        [say(crew.chat, "${run_name} gets going")],
        by=crew.people[1],
        mode=Mode.SHADOW,
    )
    rule(project, "a version is logged", "version_added", {}, [post(crew.hook, _VERSION)], by=lead)


def _language_rules(crew: Crew, until: datetime) -> None:
    project, lead = crew.project, crew.lead
    unlike = {"metric": "val/loss", "window": 10, "direction": "either", "threshold": 2.2, "warmup": 8}
    rule(
        project,
        "unlike the other runs",
        "run_metric_zscore",
        unlike,
        [post(crew.hook, _METRIC)],
        by=lead,
    )
    jumps = {"metric": "train/grad_norm", "baseline": "values", "direction": "above", "threshold": 8}
    rule(
        project,
        "the gradient jumps",
        "run_metric_zscore",
        {**jumps, "window": 50, "warmup": 60},
        [say(crew.chat, "${run_name}, step ${step}: ${metric_filter}", severity="warn")],
        by=crew.people[1],
    )
    slow = {"metric": "train/tokens_per_second", "comparison": "below", "threshold": 14_000, "window": 20}
    rule(
        project,
        "throughput falls",
        "run_metric_threshold",
        slow,
        [say(crew.chat, "${run_name} gets slow")],
        by=lead,
        mode=Mode.MUTED,
        muted_until=until,
    )
    rule(
        project,
        "a run of Leila's is done",
        "run_status",
        {"statuses": ["finished"], "user": lead.username},
        [post(crew.hook, _RUN)],
        by=lead,
    )
    rule(
        project,
        "every start (too loud)",
        "run_status",
        {"statuses": ["running"]},
        [post(crew.hook, _RUN)],
        by=crew.people[1],
        mode=Mode.DISABLED,
    )


def _registry_rules(cast: Cast) -> None:
    registry, crew = cast.registry, cast.seabirds
    moved = {**_VERSION, "alias": "${alias}", "before": "${previous_version}"}
    rule(
        registry,
        "production moves",
        "alias_added",
        {"alias": "^production$"},
        [post(crew.hook, moved, order="latest_only"), post(cast.pager, moved, order="ordered")],
        by=crew.lead,
        description="Rolls the new version out.",
    )
    rule(registry, "a candidate arrives", "version_linked", {}, [post(crew.hook, _VERSION)], by=crew.lead)
    withdrawn = [say(crew.chat, "${artifact_version} was withdrawn", severity="warn")]
    rule(registry, "a version is withdrawn", "version_unlinked", {}, withdrawn, by=crew.lead)
    loses = [say(crew.chat, "${artifact_version} is not ${alias} any more")]
    config = {"alias": "^(production|staging)$"}
    rule(registry, "an alias is taken away", "alias_removed", config, loses, by=crew.lead)
    approved = [post(crew.hook, {**_VERSION, "tag": "${tag}"})]
    rule(registry, "approved", "tag_added", {"tag": "^approved$"}, approved, by=crew.lead)


def watch_collection(cast: Cast, collection: Collection) -> None:
    """The rules of one collection of the registry."""
    crew = cast.seabirds
    withdrawn = [say(crew.chat, "${artifact_version} is not ${tag} any more", severity="error")]
    rule(collection, "approval is taken back", "tag_removed", {"tag": "^approved$"}, withdrawn, by=crew.lead)
    told = [post(crew.hook, {"collection": "${artifact_collection_name}", "tag": "${tag}"})]
    rule(collection, "on its way out", "collection_tag_added", {"tag": "deprecated"}, told, by=crew.lead)
    rule(collection, "back again", "collection_tag_removed", {"tag": "deprecated"}, told, by=crew.lead)


def _wide_rules(cast: Cast) -> None:
    """Of a team, and of the whole organization."""
    crew = cast.seabirds
    failed = {"statuses": ["failed"]}
    mail = write(crew, "${run_name} ${run_status}", "A run of ${project_name} ended before its time.")
    for each in (cast.seabirds, cast.voyagers):
        rule(
            each.team,
            "a run fails",
            "run_status",
            failed,
            [post(each.hook, _RUN), *([mail] if each is crew else [])],
            by=each.lead,
        )
    rule(
        cast.organization,
        "a loss is no number any more",
        "run_metric_nonfinite",
        {},
        [say(crew.chat, "${run_name} diverged at step ${step}: ${metric_name}", severity="error")],
        by=crew.lead,
        period=None,
    )
    rule(
        cast.organization,
        "a collection is created",
        "collection_created",
        {},
        [ActionDraft("noop"), post(crew.hook, {"name": "${artifact_collection_name}"})],
        by=crew.lead,
    )


# At which the training that streams now is noticed.
LIVE_LOSS = 3.4


def _live_rules(cast: Cast) -> None:
    """The rules on the training that streams now."""
    crew = cast.voyagers
    high = {"metric": "train/loss", "window": 5, "comparison": "above", "threshold": LIVE_LOSS, "warmup": 60}
    message = "${run_name} at step ${step}: ${metric_filter}"
    rule(
        cast.live,
        "the loss jumps",
        "run_metric_threshold",
        high,
        [post(crew.hook, _METRIC), say(crew.chat, message, severity="error")],
        by=crew.lead,
        description="Fires half a minute after a training of the example began.",
    )
    jumps = {"metric": "train/grad_norm", "baseline": "values", "direction": "above", "threshold": 10}
    rule(
        cast.live,
        "the gradient jumps",
        "run_metric_zscore",
        {**jumps, "window": 30, "warmup": 60},
        [post(crew.hook, _METRIC)],
        by=crew.lead,
    )
