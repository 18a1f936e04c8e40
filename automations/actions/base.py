"""What an action is. One type is one class: its form, what it renders, how it sends."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext as _, gettext_lazy

from automations import backoff
from automations.catalog import Catalog
from automations.forms import ConfigForm

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from automations.models import Action, Delivery
    from runs.models import User

ACTIONS: Catalog[ActionType] = Catalog(gettext_lazy("action type"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended. `request` is what was sent, with every secret redacted.

    Without a status there is an error. `permanent` says that another try cannot help, `silent` that
    nobody answered; `retry_after` is what the receiver asked for, in seconds.
    """

    ok: bool
    status: int | None = None
    response: str = ""
    error: str = ""
    permanent: bool = False
    silent: bool = False
    retry_after: float | None = None
    duration: float = 0.0
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a message can say: the template's values, and the same in words of the team's language.

    `facts` are labelled, the most telling first; `why` is the explanation's sentence.
    """

    values: Mapping[str, Any]
    why: str = ""
    facts: Sequence[tuple[str, str]] = ()
    link: str = ""
    # What a test begins its title with, "" else.
    mark: str = ""
    # Whose members may get it: "team:3", or for what happened outside of all teams "registry:5".
    audience: str = ""


class ActionType(ABC):
    """Declares one kind of action."""

    key: ClassVar[str]
    label: ClassVar[str | Promise]
    # What one automation says: the content.
    config_form: ClassVar[type[ConfigForm]]
    # What is shared by many: the target. None for an action that needs no integration.
    integration_form: ClassVar[type[ConfigForm] | None] = None
    # Whether one must be chosen, where there is a form for it.
    needs_integration: ClassVar[bool] = True
    # Whether its content may name the integration's secrets.
    takes_secrets: ClassVar[bool] = False
    # Its fields in which `${variables}` are filled in.
    templates: ClassVar[Sequence[str]] = ()
    # Nothing leaves the house: it is done in the transaction that decides it, without an attempt.
    immediate: ClassVar[bool] = False
    # Seconds before the first, second … attempt.
    schedule: ClassVar[Sequence[float]] = backoff.DEFAULT_SCHEDULE
    # Seconds that one attempt may take, where the integration's timeout does not bound it.
    longest: ClassVar[float | None] = None
    # Messages per second where the integration sets no limit of its own, and never more than `max_rate`.
    max_rate: ClassVar[float | None] = None
    # How many messages that wait may become one.
    merges: ClassVar[int] = 1

    def check(self, config: dict[str, Any], variables: Sequence[str]) -> None:  # noqa: B027  (may be left)
        """Raise `ValidationError` by field for a template that names an unknown variable."""

    def check_audience(self, config: dict[str, Any], people: QuerySet[User]) -> None:  # noqa: B027  (may be left)
        """Raise `ValidationError` by field for somebody addressed who is not among `people`."""

    @abstractmethod
    def render(self, action: Action, occasion: Occasion) -> str:
        """The body that every attempt sends, with marks where secrets go."""

    def shown(self, body: str) -> str:
        """What a reader would see of what `render` gave."""
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False) if body else ""

    def sentence(self, config: Mapping[str, Any], target: str) -> str:
        """What is done, as a part of a sentence: “Webhook to “hook””. `target` may be ""."""
        if not target:
            return str(self.label)
        return _("%(action)s to “%(target)s”") % {"action": self.label, "target": target}

    def order(self, config: Mapping[str, Any]) -> str:
        """In which order its messages about one thing go out (`Order`)."""
        return "any"

    @abstractmethod
    def send(self, delivery: Delivery) -> Outcome:
        """Try once, within the integration's timeout."""

    def send_merged(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Try once, with one message for all of them; where `merges` is more than one."""
        raise NotImplementedError
