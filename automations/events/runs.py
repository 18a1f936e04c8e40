from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from django import forms
from django.utils.translation import gettext_lazy as _

from automations import regex
from automations.conditions import coarse
from automations.events.base import EVENTS, RUN_SCOPES, Config, EventType
from automations.forms import ConfigForm, PatternField
from automations.verdicts import Reason, Verdict
from runs.models import RunStatusChange

STATUSES = [("running", _("Running")), ("finished", _("Finished")), ("failed", _("Failed"))]


class RunFilterForm(ConfigForm):
    """The filters of every run event (R47–R49); both given, both must match."""

    user = forms.CharField(label=_("User"), required=False, max_length=150)
    run_name = PatternField(label=_("Run name regex"))


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run's name and user as of the acceptance of the change."""

    run_name: str
    run_user: str


F = TypeVar("F", bound=RunFacts)


class RunEventType(EventType[F], Generic[F]):
    """Base of what happens to runs: filters first, then the type's own decision."""

    scopes = RUN_SCOPES
    limited = True
    variables: ClassVar[tuple[str, ...]] = ("run_id", "run_name", "run_url", "run_status")
    filter_sentences = {
        "user_differs": _("the run is by “%(user)s”, the rule watches runs of “%(wanted)s”"),
        "run_name_differs": _("the run's name “%(name)s” does not match %(pattern)s"),
        "killed": _("the run was killed; a killed run triggers nothing"),
    }

    def decide(self, config: Config, facts: F) -> Verdict:
        if config["user"] and config["user"] != facts.run_user:
            return Verdict.no("user_differs", user=facts.run_user, wanted=config["user"])
        if not regex.search(config["run_name"], facts.run_name):
            return Verdict.no("run_name_differs", name=facts.run_name, pattern=config["run_name"])
        return self.decide_run(config, facts)

    def decide_run(self, config: Config, facts: F) -> Verdict:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class StatusFacts(RunFacts):
    old_status: str
    status: str


class RunStatusForm(RunFilterForm):
    statuses = forms.MultipleChoiceField(
        label=_("Status"), choices=STATUSES, widget=forms.CheckboxSelectMultiple
    )


@EVENTS.register
class RunStatusEvent(RunEventType[StatusFacts]):
    """A run changes to one of the chosen states (R15, R16); killed and waiting ones are none (R17).

    `crashed` counts as `failed`; a change within one coarse state is no change.
    """

    key = "run_status"
    label = _("Run status change")
    source = RunStatusChange
    config_form = RunStatusForm
    sentences = {
        **RunEventType.filter_sentences,
        "status_changed": _("the run changed from %(old)s to %(new)s"),
        "status_differs": _("the run changed to %(new)s, the rule watches %(wanted)s"),
        "status_same": _("%(old)s to %(new)s is no change"),
    }

    def gather(self, change: Any, config: Config) -> StatusFacts:
        return StatusFacts(change.run_name, change.run_user, change.old_status, change.status)

    def decide_run(self, config: Config, facts: StatusFacts) -> Verdict:
        if facts.status == "killed":
            return Verdict.no("killed")
        if coarse(facts.status) not in config["statuses"]:
            return Verdict.no("status_differs", new=facts.status, wanted=", ".join(config["statuses"]))
        if coarse(facts.status) == coarse(facts.old_status):
            return Verdict.no("status_same", old=facts.old_status, new=facts.status)
        return Verdict.yes()

    def describe(self, config: Config, facts: StatusFacts, hit: int) -> Reason:
        return Reason("status_changed", {"old": facts.old_status or "–", "new": facts.status})

    def limit_bucket(self, facts: StatusFacts) -> str:
        return coarse(facts.status)

    def dedup_key(self, change: Any, hit: int) -> str:
        return f"status:{change.run_id}:{change.seq}"
