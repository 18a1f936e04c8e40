from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from django import forms
from django.utils.translation import gettext_lazy as _

from automations import regex
from automations.conditions import coarse
from automations.events.base import EVENTS, RUN_SCOPES, Config, EventType
from automations.events.clauses import one_of
from automations.forms import ConfigForm, PatternField
from automations.verdicts import Reason, Verdict
from runs.models import RunStatus, RunStatusChange

STATUSES = [("running", _("Running")), ("finished", _("Finished")), ("failed", _("Failed"))]


class RunFilterForm(ConfigForm):
    """The filters of every run event (R47–R49); both given, both must match."""

    user = forms.CharField(label=_("User"), required=False, max_length=150)
    run_name = PatternField(label=_("Run name regex"))


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run's name, user and status as of the acceptance of the change."""

    run_name: str
    run_user: str
    run_status: str


F = TypeVar("F", bound=RunFacts)


class RunEventType(EventType[F], Generic[F]):
    """Base of what happens to runs: filters first (R47–R49), then the type's own decision."""

    scopes = RUN_SCOPES
    limited = True
    variables: ClassVar[tuple[str, ...]] = ("run_id", "run_name", "run_url", "run_status")
    filter_sentences = {
        "user_differs": _("the run is by “%(user)s”, the rule watches runs of “%(wanted)s”"),
        "run_name_differs": _("the run's name “%(name)s” does not match %(pattern)s"),
        "killed": _("the run was killed; a killed run triggers nothing"),
    }

    def decide(self, config: Config, facts: F) -> Verdict:
        return self.refused(config, facts) or self.decide_run(config, facts)

    def refused(self, config: Config, facts: RunFacts) -> Verdict | None:
        """What stops before the type's own decision: a filter, or that the run was killed (R17)."""
        if config["user"] and config["user"] != facts.run_user:
            return Verdict.no("user_differs", user=facts.run_user, wanted=config["user"])
        if not regex.search(config["run_name"], facts.run_name):
            return Verdict.no("run_name_differs", name=facts.run_name, pattern=config["run_name"])
        if facts.run_status == RunStatus.KILLED:
            return Verdict.no("killed")
        return None

    def decide_run(self, config: Config, facts: F) -> Verdict:
        raise NotImplementedError

    def sentence(self, config: Config) -> str:
        """The type's own clause, and whose runs count."""
        user, name = config["user"], config["run_name"]
        if user and name:
            sentence = _("%(event)s, of runs by %(user)s whose name matches %(name)s")
        elif user:
            sentence = _("%(event)s, of runs by %(user)s")
        elif name:
            sentence = _("%(event)s, of runs whose name matches %(name)s")
        else:
            return self.clause(config)
        return str(sentence) % {"event": self.clause(config), "user": user, "name": name}

    def clause(self, config: Config) -> str:
        """What happens to a run, without the filters."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class StatusFacts(RunFacts):
    """`run_status` is the one that the run changed to."""

    old_status: str


def _spoken_statuses(value: Any) -> Any:
    """“running, finished” as labels; what is no list of statuses stays as it is."""
    labels = dict(RunStatus.choices)
    if not isinstance(value, str) or not all(part in labels for part in value.split(", ")):
        return value
    return str(_(", ")).join(str(labels[part]).lower() for part in value.split(", "))


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
        return StatusFacts(change.run_name, change.run_user, change.status, change.old_status)

    def decide_run(self, config: Config, facts: StatusFacts) -> Verdict:
        old, new = facts.old_status, facts.run_status
        if coarse(new) not in config["statuses"]:
            return Verdict.no("status_differs", new=new, wanted=", ".join(config["statuses"]))
        if coarse(new) == coarse(old):
            return Verdict.no("status_same", old=old, new=new)
        return Verdict.yes()

    def clause(self, config: Config) -> str:
        labels = {key: str(label).lower() for key, label in STATUSES}
        chosen = [labels[key] for key in labels if key in config["statuses"]]
        return str(_("a run changes to %(statuses)s")) % {"statuses": one_of(chosen)}

    def describe(self, config: Config, facts: StatusFacts, hit: int) -> Reason:
        return Reason("status_changed", {"old": facts.old_status or "–", "new": facts.run_status})

    def explain(self, reason: Mapping[str, Any]) -> str:
        """With the statuses as the reader's language calls them."""
        data = {name: _spoken_statuses(value) for name, value in reason.get("data", {}).items()}
        return super().explain({**reason, "data": data})

    def limit_bucket(self, facts: StatusFacts) -> str:
        return coarse(facts.run_status)

    def dedup_key(self, change: Any, hit: int) -> str:
        return f"status:{change.run_id}:{change.seq}"
