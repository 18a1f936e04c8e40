"""What a name may look like. One place, so that forms, REST, services and clients agree."""

from __future__ import annotations

import math
import re
import secrets
import string
import unicodedata
from random import Random
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from runs import zones

NAME_LENGTH = 250
SLUG_LENGTH = 128

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URL_BREAKERS = re.compile(r"[/\\:#?%]")

# First parts of the paths that the installation itself serves.
_OWN_PATHS = """
admin api accounts static media inbox inboxes registries artifacts automations executions search settings
metrics healthz status profile teams i18n tripline.py favicon.ico robots.txt
"""


def validate_text(value: str) -> None:
    """Refuse what PostgreSQL cannot store: NUL and lone surrogates."""
    if "\x00" in value:
        raise ValidationError(_("NUL characters are not allowed."), code="nul")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValidationError(_("Lone surrogates are not allowed."), code="surrogate") from None


def validate_json(value: Any) -> None:
    """Refuse JSON that PostgreSQL cannot store: texts as above, and numbers that are none."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            validate_text(item)
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValidationError(_("This must be a finite number."), code="nonfinite")


def validate_name(value: str) -> None:
    """A display name: no control characters, not blank."""
    validate_text(value)
    if not value.strip():
        raise ValidationError(_("A name cannot be blank."), code="blank")
    if _CONTROL.search(value):
        raise ValidationError(_("A name cannot hold control characters."), code="control")


def validate_path_name(value: str) -> None:
    r"""A name that is a part of a URL path: no `/ \ : # ? %`, not `.` or `..`."""
    validate_name(value)
    if _URL_BREAKERS.search(value) or value in {".", ".."} or value != value.strip():
        raise ValidationError(
            _("A name cannot hold / \\ : # ? %, start or end with a space, or be a dot."), code="path"
        )


def is_own_path(value: str) -> bool:
    """Whether Tripline serves something of its own below this first part of a path."""
    return value.casefold() in _OWN_PATHS.split()


def validate_team_name(value: str) -> None:
    """A team's name is the first part of its pages' paths."""
    validate_path_name(value)
    if is_own_path(value):
        raise ValidationError(_("This name is taken by Tripline's own pages."), code="reserved")


def validate_time_zone(value: str) -> None:
    """A name of the IANA database, for instance Asia/Tokyo."""
    if value not in zones.known():
        raise ValidationError(
            _("“%(name)s” is no time zone; write it like Asia/Tokyo."), params={"name": value}
        )


def validate_metric_name(value: str) -> None:
    validate_text(value)
    if not value or len(value) > NAME_LENGTH:
        raise ValidationError(_("A metric's name has 1 to 250 characters."), code="length")


def normalized(value: str) -> str:
    """NFC, so that two spellings of one name are one name."""
    return unicodedata.normalize("NFC", value)


def make_run_id() -> str:
    """8 lower-case alphanumerics; unique in a project by constraint, not by luck."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _i in range(8))


_ADJECTIVES = """
amber bold brisk calm clear copper crisp dusty early fair fleet gentle golden green hidden keen late light
lively lucid mellow misty noble pale patient plain proud quick quiet rapid rustic sharp silent silver steady
still swift warm wild young
"""
_NOUNS = """
aspen birch brook canyon cedar cliff cloud comet coral creek delta dune ember falcon fern field finch fjord
forest glade grove harbor heron hill island lake lantern maple meadow moss otter pebble pine plover prairie
reef ridge river robin sparrow stone thistle tide valley willow wren
"""


_CHANCE = secrets.SystemRandom()


def make_run_name(number: int, *, chance: Random = _CHANCE) -> str:
    """A name one can say, for a run that was given none: `quiet-heron-12`."""
    return f"{chance.choice(_ADJECTIVES.split())}-{chance.choice(_NOUNS.split())}-{number}"
