"""The reader's time zone: what the browser said last (times.js), UTC for who has said nothing yet."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo
from functools import cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest

COOKIE = "zone"
# Near both ends of the calendar a midnight has no equal in UTC.
_FIRST, _LAST = date(1, 1, 2), date(9999, 12, 30)

known = cache(available_timezones)  # it looks through a folder of files


def zone_of(request: HttpRequest) -> tzinfo:
    name = unquote(request.COOKIES.get(COOKIE, ""))
    return ZoneInfo(name) if name in known() else UTC


def midnight(day: date, zone: tzinfo) -> datetime:
    """When the day begins there."""
    return datetime.combine(min(max(day, _FIRST), _LAST), time(), zone)
