"""The durable feed: everything observed, in order, for clients that pull."""

from __future__ import annotations

import re

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_serializer
from rest_framework import mixins, serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from automations import access, feed, waiting
from automations.api.history import EventSerializer
from automations.filtersets import EventFilterSet
from automations.models import Event
from runs.filtersets import StrictFilterBackend
from runs.rest.paging import KeysetPagination
from runs.rest.views import ScopedViewSet

NOW = "now"


@extend_schema_serializer(many=False)
class FeedSerializer(serializers.Serializer):
    next = serializers.CharField()
    results = EventSerializer(many=True)


class CursorLost(APIException):
    """410: the client must know that it missed something, rather than go on as if it had not."""

    status_code = 410

    def __init__(self, reason: feed.Lost) -> None:
        advice = _(
            "Begin again: with after=now, and read the present state from the other resources; or without "
            "after, to read all that is still kept."
        )
        super().__init__({"after": [f"{reason} {advice}"]}, code="gone")


class EventViewSet(mixins.RetrieveModelMixin, ScopedViewSet):
    """The durable feed of everything observed, in order."""

    queryset = Event.objects.all()
    serializer_class = EventSerializer
    filterset_class = EventFilterSet
    filter_backends = (StrictFilterBackend,)
    pagination_class = None

    def visible(self) -> QuerySet[Event]:
        return access.events(self.person)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "after",
                OpenApiTypes.STR,
                description="`next` of an earlier answer; empty: all that is kept; `now`: nothing, at once",
            ),
            OpenApiParameter(
                "wait",
                {"type": "integer", "minimum": 0, "maximum": waiting.LONGEST, "default": 0},
                description="seconds to wait for an event when there is none yet",
            ),
            OpenApiParameter("page_size", OpenApiTypes.INT),
        ],
        responses={
            200: FeedSerializer,
            410: OpenApiResponse(OpenApiTypes.OBJECT, description="Events after the cursor are gone."),
        },
    )
    def list(self, request: Request) -> Response:
        """Events after a cursor, oldest first: each one once, in order, none left out.

        `next` is the cursor to go on with, also when no event came: ask again with it, and with the same
        filters, because it moves on past events that were not for you (another team's, or filtered out).
        `sequence` counts the events of an organization without a gap, in the order of their commits; of
        several organizations each has its own order. Keep the cursor after you handled the events: if you
        fail in between you get them again, and know them by their `id`.

        With `wait` the answer comes as soon as there is an event, or empty after so many seconds: a
        machine behind a firewall needs no open port. Only a few requests of one server process may wait
        at once (`TRIPLINE_LONG_POLLS`). The others are answered at once, empty and with a `Retry-After`
        header: ask again after so many seconds. A process with a single thread lets nobody wait.

        410 says that you missed something: events after your cursor are no longer kept (they are for 30
        days), or the database was restored from an older copy. Then take a new cursor with `after=now`,
        read the present state from the other resources, and follow from there. Of a team that you join
        you get what happens from then on; its past, as far as it is kept, only without a cursor.
        """
        size = KeysetPagination().get_page_size(request)
        after, seconds = (
            request.query_params.get("after", ""),
            _seconds(request.query_params.get("wait", "0")),
        )
        events = self.filter_queryset(self.get_queryset())
        reader = feed.Reader(access.feeds(self.person), events)
        try:
            # Whoever asks for `now` has no cursor yet: if they waited and the answer were lost, so were its
            # events.
            wait = waiting.Wait(request.META, 0 if after == NOW else seconds)
            page, headers = _page(reader, _cursor(reader, after), size=size, wait=wait)
        except feed.Lost as reason:
            raise CursorLost(reason) from reason
        results = self.get_serializer(page.events, many=True).data
        return Response({"next": feed.written(page.cursor), "results": results}, headers=headers)


def _page(
    reader: feed.Reader, cursor: feed.Cursor, *, size: int, wait: waiting.Wait
) -> tuple[feed.Page, dict[str, str]]:
    """What there is after the cursor, awaited if need be, and the headers that belong to it."""
    page = reader.read(cursor, size)
    if page.events or not wait.seconds:
        return page, {}
    with waiting.place(wait.environ) as taken:
        if not taken:
            return page, {"Retry-After": str(waiting.COME_AGAIN)}
        while not page.events and wait.goes_on():
            if feed.have_moved(page.heads):
                page = reader.read(page.cursor, size)
    return page, {}


def _cursor(reader: feed.Reader, text: str) -> feed.Cursor:
    if text in {"", NOW}:
        return reader.heads() if text == NOW else reader.oldest()
    try:
        return feed.parsed(text)
    except ValueError:
        problem = _("This must be the “next” of an earlier answer, “now”, or empty.")
        raise ValidationError({"after": [problem]}) from None


def _seconds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text) or int(text) > waiting.LONGEST:
        raise ValidationError({"wait": [_("This must be 0 to %d.") % waiting.LONGEST]})
    return int(text)
