"""Reading the feed: everything observed, in the order of its numbers, from where a reader stands.

An event takes its number under its organization's row of `Feed`, the last lock of its transaction. So
numbers are committed in order: whoever sees the head at n sees every event up to n from then on, and a
reader may stand at n also when nothing up to n was for them.

What is kept of a feed has no hole (`automations.retention` takes its beginning away, and only that). A
reader who stands before the first event that is kept has missed some, and is told so.
"""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from automations.models import Event, Feed
from runs.models import Organization

# How far one has read in each organization, by its id.
Cursor: TypeAlias = dict[int, int]

_CURSOR = re.compile(r"[0-9]{1,18}:[0-9]{1,18}(,[0-9]{1,18}:[0-9]{1,18})*")


class Lost(Exception):  # noqa: N818  # nothing went wrong here
    """Nobody can go on from this cursor without missing events; the message says why."""


def parsed(text: str) -> Cursor:
    """A cursor as `written` wrote it. Raises `ValueError`."""
    if not _CURSOR.fullmatch(text):
        raise ValueError(text)
    pairs = (pair.split(":") for pair in text.split(","))
    return {int(organization): int(sequence) for organization, sequence in pairs}


def written(cursor: Cursor) -> str:
    """Each organization counts for itself: "1:57,2:12"."""
    return ",".join(f"{organization}:{sequence}" for organization, sequence in sorted(cursor.items()))


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, where one stands after them, and the heads of the feeds when they were read."""

    events: list[Event]
    cursor: Cursor
    heads: Cursor


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads which of the events of these organizations. Both are asked anew each time."""

    organizations: QuerySet[Organization]
    events: QuerySet[Event]

    def oldest(self) -> Cursor:
        """Before everything that is kept."""
        heads = self.heads()
        first = _first_kept(heads)
        return {organization: first.get(organization, head + 1) - 1 for organization, head in heads.items()}

    def heads(self) -> Cursor:
        """The last number of every feed, 0 where nothing happened yet: after everything there is."""
        last = Feed.objects.filter(organization=OuterRef("pk")).values("head")
        found = self.organizations.annotate(head=Coalesce(Subquery(last), 0))
        return dict(found.values_list("pk", "head"))

    def read(self, cursor: Cursor, size: int) -> Page:
        """At most `size` events after the cursor; an organization that it does not name is read from 0.

        Raises `Lost` when events after the cursor are no longer kept, or the cursor is from elsewhere.
        """
        heads = self.heads()
        cursor = dict.fromkeys(heads, 0) | cursor
        _refuse_the_future(cursor, heads)
        behind = [organization for organization, head in heads.items() if cursor[organization] < head]
        if len(behind) > size:
            # By lot, so that nobody waits for ever beside feeds that are never quiet.
            behind = random.sample(behind, size)
        seen, found = dict(cursor), list[list[Event]]()
        for organization in behind:
            share = size // len(behind)
            events = self._after(organization, cursor[organization], share)
            found.append(events)
            reached = events[-1].sequence if events else 0
            # A page that is not full holds all that this reader gets up to the head read before it.
            seen[organization] = reached if len(events) == share else max(reached, heads[organization])
        _refuse_holes(behind, cursor, heads)
        # About as they happened; those of one organization in their order whatever their keys.
        return Page(list(heapq.merge(*found, key=lambda event: event.pk)), seen, heads)

    def _after(self, organization: int, sequence: int, limit: int) -> list[Event]:
        events = self.events.filter(organization=organization, sequence__gt=sequence)
        return list(events.order_by("sequence")[:limit])


def have_moved(heads: Cursor) -> bool:
    """Whether anything came since these heads were read."""
    feeds = Feed.objects.filter(organization__in=list(heads))
    return any(head > heads[pk] for pk, head in feeds.values_list("pk", "head"))


def _first_kept(organizations: Iterable[int]) -> Cursor:
    """The number of the first event that is kept, of those organizations that have any."""
    first = Event.objects.filter(organization=OuterRef("pk")).order_by("sequence").values("sequence")[:1]
    found = Organization.objects.filter(pk__in=list(organizations)).annotate(first=Subquery(first))
    return dict(found.exclude(first=None).values_list("pk", "first"))


def _refuse_holes(organizations: Iterable[int], cursor: Cursor, heads: Cursor) -> None:
    """Called after the events were read: what was deleted before that shows now."""
    first = _first_kept(organizations)
    for organization in organizations:
        kept_from = first.get(organization, heads[organization] + 1)
        if kept_from > cursor[organization] + 1:
            gone = {"first": cursor[organization] + 1, "last": kept_from - 1, "organization": organization}
            raise Lost(_("Events %(first)d to %(last)d of organization %(organization)d are gone.") % gone)


def _refuse_the_future(cursor: Cursor, heads: Cursor) -> None:
    """A database that was restored from a copy counts on from there: other events get the same numbers."""
    for organization, head in heads.items():
        if cursor[organization] > head:
            where = {"organization": organization, "head": head}
            raise Lost(_("Organization %(organization)d has had %(head)d events only.") % where)
