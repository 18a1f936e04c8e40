"""The tabs above the pages of a registry."""

from __future__ import annotations

from typing import Any

from django import template

from registry import places
from registry.models import Registry

register = template.Library()


@register.inclusion_tag("registry/tabs.html", takes_context=True)
def registry_tabs(context: dict[str, Any], registry: Registry, current: str) -> dict[str, Any]:
    """`current` is the key of the one that is shown."""
    return {"tabs": places.REGISTRY_TABS.parts(context["request"], registry), "current": current}
