"""What pages of all layers are made of."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from runs import places, sparkline as lines
from runs.models import Project
from runs.views.run import reading
from runs.views.shown import number

register = template.Library()

_PANELS: dict[str, places.Place[Any, places.Panel]] = {
    "welcome": places.WELCOME,
    "home": places.HOME,
    "team": places.TEAM,
    "run": places.RUN,
}


@register.simple_tag(takes_context=True)
def panels(context: dict[str, Any], place: str, subject: object = None) -> SafeString:
    """What the layers above have to show in this place."""
    return mark_safe("".join(_PANELS[place].parts(context["request"], subject)))  # noqa: S308  # rendered


@register.simple_tag(takes_context=True)
def bell(context: dict[str, Any], project: Project) -> str:
    """The address to which a chart's bell adds its metric; "" for who may make nothing here."""
    return next(filter(None, places.BELL.parts(context["request"], project)), "")


@register.inclusion_tag("runs/tabs.html", takes_context=True)
def project_tabs(context: dict[str, Any], project: Project, current: str) -> dict[str, Any]:
    """The pages of a project; `current` is the key of the one that is shown."""
    return {"tabs": places.PROJECT_TABS.parts(context["request"], project), "current": current}


@register.simple_tag
def sparkline(path: str) -> SafeString:
    box = f"0 0 {lines.WIDTH} {lines.HEIGHT}"
    text = '<svg class="spark" viewBox="{}" width="{}" height="{}" aria-hidden="true"><path d="{}"/></svg>'
    return format_html(text, box, lines.WIDTH, lines.HEIGHT, path)


register.simple_tag(number, name="value")
register.simple_tag(reading)
