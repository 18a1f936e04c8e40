"""What helps while a rule is written: hints beside the fields, warnings, an example of what is sent."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.translation import gettext as _

from automations import occasions, template, testfire
from automations.actions.base import ACTIONS
from automations.backtests import cautions
from automations.events.base import EVENTS
from automations.events.metrics import SYSTEM_PREFIX, MetricEventType
from automations.forms import PatternField
from automations.health.words import spoken
from automations.models import Action, Automation, Execution
from automations.ruleforms.rule import RuleForm
from automations.ruleforms.sending import ActionRow
from automations.ruleforms.typed import Typed
from automations.services import rules
from automations.verdicts import Reason

# Clients log system metrics about that often, in seconds (R22).
SYSTEM_EVERY = 15
# The options that most rules leave as they are.
OPTIONS = ("source", "warmup", "hold", "user", "run_name")


# --- Fields that answer while one types -----------------------------------------------------------


def dress_condition(typed: Typed) -> None:
    """Patterns are tried on the names that exist, metrics and users are offered."""
    for name, field in typed.form.fields.items():
        attrs = field.widget.attrs
        if isinstance(field, PatternField):
            _try_out(typed, name)
        elif name in {"metric", "user"}:
            attrs |= {"list": f"{name}-names", "autocomplete": "off", "autocapitalize": "none"}


def _try_out(typed: Typed, name: str) -> None:
    bound = typed.form[name]
    begins = ", load" if bound.value() and not bound.errors else ""
    bound.field.widget.attrs |= {
        "hx-post": f"{reverse('automation-matches')}?field={bound.html_name}",
        "hx-trigger": f"input changed delay:300ms{begins}",
        "hx-target": f"#{bound.auto_id}-live",
        "hx-sync": "this:replace",
        "autocomplete": "off",
        "autocapitalize": "none",
        "spellcheck": "false",
    }
    bound.field.is_live = True  # type: ignore[attr-defined]  # read by the template


def dress_content(typed: Typed) -> None:
    """Templates are marked, so that a click on a variable finds them."""
    for name, field in typed.form.fields.items():
        if isinstance(field.widget, forms.Textarea):
            field.widget.attrs["rows"] = 2 if name == "to" else 8 if name == "payload" else 3
        if name in getattr(typed.entry, "templates", ()):
            field.widget.attrs |= {"data-template": "", "spellcheck": "false"}


def split(typed: Typed) -> tuple[list[Any], list[Any]]:
    """The condition's fields, what is watched first; and the options apart."""
    bound = list(typed.form)
    own = [field for field in bound if field.name not in OPTIONS]
    return own, [field for field in bound if field.name in OPTIONS]


def options_are_set(typed: Typed) -> bool:
    """Whether an option is none of the defaults, or wrong."""
    _own, options = split(typed)
    return any(field.errors or _differs(field) for field in options)


def _differs(field: Any) -> bool:
    now, default = ("" if value is None else str(value) for value in (field.value(), field.field.initial))
    return now != default


# --- What to think of -----------------------------------------------------------------------------


def advice(rule: Automation) -> list[str]:
    """Of a rule that is complete: what it may not mean, and how long its windows are."""
    found = [cautions.sentence(caution) for caution in cautions.of_the_rule(rule)]
    event_type, config = EVENTS[rule.event_type], rule.config
    if isinstance(event_type, MetricEventType) and _is_system(config):
        reach = event_type.reach(config)
        data = {"count": reach, "time": spoken(reach * SYSTEM_EVERY)}
        found.append(_("%(count)s values of a system metric are about %(time)s.") % data)
    if rule.event_type == "run_metric_zscore" and not config["warmup"]:
        found.append(
            _("The first values of a new run often stand out: ignore some, under “%(label)s”.")
            % {"label": event_type.config_form.base_fields["warmup"].label}
        )
    return found


def _is_system(config: dict[str, Any]) -> bool:
    is_named = (config["metric"] or "").startswith(SYSTEM_PREFIX)
    return config.get("window") is not None and (is_named or config["source"] == "system")


# --- An example of what is sent -------------------------------------------------------------------


class Unready(Exception):  # noqa: N818  (a state, not an accident)
    """There is no example yet: event or scope are not chosen."""


def example(form: RuleForm, row: ActionRow) -> str:
    """What this action would send, with made up values.

    Raises `ValidationError` for what is wrong in it, and `Unready`.
    """
    action_type, typed = ACTIONS[row.type], row.typed
    if typed is None or form.scope is None:
        raise Unready
    if wrong := [text for name in action_type.templates for text in typed.form.errors.get(name, [])]:
        raise ValidationError(wrong)
    integration = row.chosen_integration
    config = _with_defaults(typed.form)
    action_type.check(config, rules.variables(integration, action_type))
    rule = _sample(form)
    event = testfire.example(rule, form.person)
    execution = Execution(
        automation_name=rule.name,
        event_type=rule.event_type,
        explanation=Reason("test", {"actor": form.person.username}).as_json(),
        is_test=True,
    )
    action = Action(type=row.type, integration=integration, config=config)
    with occasions.speaking_to(occasions.team_of(event, action)):
        return action_type.shown(action_type.render(action, occasions.occasion_of(execution, event, action)))


def _with_defaults(form: forms.Form) -> dict[str, Any]:
    """What was written as far as it is right, and the defaults."""
    written = form.cleaned_data if form.is_bound and form.errors is not None else {}
    given = {name: written.get(name, field.initial) for name, field in form.fields.items()}
    return {name: [] if name == "to" and value is None else value for name, value in given.items()}


def _sample(form: RuleForm) -> Automation:
    """The rule as far as it is written; where something is missing, with something that could stand there."""
    typed, scope = form.condition_form, form.scope
    if typed is None or scope is None:
        raise Unready
    config = {
        name: _something(typed.form.fields[name]) if value in (None, "", []) else value
        for name, value in _with_defaults(typed.form).items()
    }
    name = str(form.basics["name"].value() or "") or _("New automation")
    rule = Automation(name=name, event_type=form.event_type, config=config)
    rules.check_automation(rule, scope=scope)
    return rule


def _something(field: forms.Field) -> Any:
    if not field.required:
        return None
    if isinstance(field, forms.ChoiceField):
        keys = [key for key, _label in field.choices]  # type: ignore[union-attr,misc]
        return keys if isinstance(field, forms.MultipleChoiceField) else keys[0]
    return 0.5 if isinstance(field, forms.FloatField) else "loss"


def empty_variables(form: RuleForm, row: ActionRow) -> list[str]:
    """Of the variables in an action's texts those that this event never fills."""
    if row.typed is None or not form.event_type:
        return []
    config = _with_defaults(row.typed.form)
    texts = [config[name] or "" for name in ACTIONS[row.type].templates]
    known = set(rules.variables(row.chosen_integration, ACTIONS[row.type]))
    known -= {name for event_type in EVENTS for name in event_type.all_variables()}
    return template.unknown(texts, known | set(EVENTS[form.event_type].all_variables()))
