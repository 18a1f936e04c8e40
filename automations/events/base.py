"""What an event type is. One type is one class: its form, its decision, its words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from automations import disabling
from automations.catalog import Catalog
from automations.forms import ConfigForm
from automations.health.words import spoken
from automations.verdicts import Reason, Verdict
from registry.models import ArtifactChange

Facts = TypeVar("Facts")
Config = dict[str, Any]

EVENTS: Catalog[EventType[Any]] = Catalog(_("event type"))

ARTIFACT_SCOPES = frozenset({"project", "registry", "collection", "team", "organization"})
RUN_SCOPES = frozenset({"project", "team", "organization"})

COMMON_VARIABLES = (
    "automation_name",
    "event_type",
    "event_author",
    "event_id",
    "sequence",
    "team_name",
    "project_name",
    "registry_name",
    "entity_name",
)


class EventType(ABC, Generic[Facts]):
    """Declares one kind of event.

    `gather` reads (ORM) what `decide` needs; `decide` is pure. Both see the change as of its acceptance.
    """

    key: ClassVar[str]
    label: ClassVar[str | Promise]
    # The change row that can be this event, and where several types share one, which of them.
    source: ClassVar[type[models.Model]]
    config_form: ClassVar[type[ConfigForm]]
    scopes: ClassVar[frozenset[str]]
    # Whether the daily limit per run applies (R52): to all run events, to no artifact event.
    limited: ClassVar[bool] = False
    # Template variables beside the common ones; `prefix.*` allows any key below it.
    variables: ClassVar[tuple[str, ...]] = ()
    # Sentence by reason code, with %(name)s for the data.
    sentences: ClassVar[Mapping[str, str | Promise]] = {}

    def routing_key(self, config: Config) -> str:
        """What, beside scope and type, must be equal for a rule to be looked at: a metric's name."""
        return ""

    @abstractmethod
    def gather(self, change: Any, config: Config) -> Facts: ...

    @abstractmethod
    def decide(self, config: Config, facts: Facts) -> Verdict: ...

    def may_fire(self, stretch: Any, config: Config) -> bool:
        """False only if none of the changes in a stretch that is looked at as one can be this event."""
        return True

    @abstractmethod
    def sentence(self, config: Config) -> str:
        """What the rule waits for, as a clause in the active language that follows “when”."""

    @abstractmethod
    def describe(self, config: Config, facts: Facts, hit: int) -> Reason:
        """Why it fired at this hit."""

    def event_data(self, config: Config, facts: Facts, hit: int) -> dict[str, Any]:
        """Template variables that this hit adds to those of the change."""
        return {}

    def limit_bucket(self, facts: Facts) -> str:
        """Counted alone under the daily limit where the automation says `per_status`."""
        return ""

    @abstractmethod
    def dedup_key(self, change: Any, hit: int) -> str:
        """Equal for the same decision made twice, different for any two decisions."""

    def all_variables(self) -> tuple[str, ...]:
        return COMMON_VARIABLES + self.variables

    def explain(self, reason: Mapping[str, Any]) -> str:
        """The stored reason as a sentence in the active language."""
        return explained(reason, self.sentences)


def explained(reason: Mapping[str, Any], sentences: Mapping[str, str | Promise] | None = None) -> str:
    """The same for what no event type explains."""
    sentence = {**_COMMON_SENTENCES, **(sentences or {})}.get(reason.get("code", ""), "")
    data = {name: spelled_out(name, value) for name, value in reason.get("data", {}).items()}
    return str(sentence) % data if sentence else str(reason.get("code", ""))


def spelled_out(name: str, value: Any) -> Any:
    """One of a sentence's data: a period is seconds, said as a duration; a reason is a code."""
    if name == "reason":
        return disabling.said(str(value))
    return spoken(value) if name == "period" and isinstance(value, int | float) else readable(value)


def readable(value: Any) -> Any:
    """Floats short enough to read: 0.62, not 0.6200000000000001; the exact one stays in the data."""
    return f"{value:.12g}" if isinstance(value, float) else value


_COMMON_SENTENCES: Mapping[str, str | Promise] = {
    "limited": _(
        "matched %(count)s more times; it fires once per run in %(period)s and fired at %(fired_at)s"
    ),
    "limited_once": _("matched %(count)s more times; it fires once ever per run and fired at %(fired_at)s"),
    "capped": _("matched %(count)s more times in this batch; a batch fires at most %(cap)s times"),
    "test": _("fired by hand by %(actor)s, as a test"),
    "trial": _("%(actor)s tried the integration %(integration)s, no automation fired"),
    "integration_disabled": _("%(integration)s was disabled: %(reason)s"),
    "loop": _(
        "matched %(count)s times, caused by Tripline's own messages over %(depth)s steps; that may be a loop"
    ),
    "muted": _("matched %(count)s times while muted until %(until)s"),
}


class ArtifactEventType(EventType[Mapping[str, Any]]):
    """Base of what happens to artifacts; `key` is the kind of the `ArtifactChange`."""

    source = ArtifactChange
    scopes = ARTIFACT_SCOPES
    variables = (
        "artifact_collection_name",
        "artifact_version",
        "artifact_version_string",
        "artifact_version_index",
        "artifact_digest",
        "artifact_url",
        "artifact_metadata.*",
        "previous_version",
        "alias",
        "tag",
    )

    def gather(self, change: Any, config: Config) -> Mapping[str, Any]:
        """The event's data, written in the transaction of the change."""
        return change.data  # type: ignore[no-any-return]

    def dedup_key(self, change: Any, hit: int) -> str:
        return f"event:{change.pk}"


def types_of(source: type[models.Model]) -> Iterable[EventType[Any]]:
    """The event types that a kind of change row can be."""
    return [event_type for event_type in EVENTS if event_type.source is source]
