"""The durable feed: everything observed, in order, for clients that pull."""

from __future__ import annotations

import re

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import mixins, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from automations import access
from automations.api.history import EventSerializer
from automations.filtersets import EventFilterSet
from automations.models import Event
from runs.filtersets import StrictFilterBackend
from runs.rest.paging import KeysetPagination
from runs.rest.views import ScopedViewSet

_CURSOR = re.compile(r"[0-9]{1,18}:[0-9]{1,18}(,[0-9]{1,18}:[0-9]{1,18})*")


@extend_schema_serializer(many=False)
class FeedSerializer(serializers.Serializer):
    next = serializers.CharField()
    results = EventSerializer(many=True)


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
            OpenApiParameter("after", OpenApiTypes.STR, description="the cursor of an earlier answer"),
            OpenApiParameter("page_size", OpenApiTypes.INT),
        ],
        responses=FeedSerializer,
    )
    def list(self, request: Request) -> Response:
        """Events after a cursor, oldest first. `next` is the cursor to go on with, also when none came."""
        seen = _read(request.query_params.get("after", ""))
        size = KeysetPagination().get_page_size(request)
        unseen = self.filter_queryset(self.get_queryset()).filter(_after(seen))
        page = list(unseen.order_by("sequence", "organization")[:size])
        seen |= {event.organization_id: event.sequence for event in page}
        return Response({"next": _written(seen), "results": self.get_serializer(page, many=True).data})


# Each organization counts for itself, so a cursor holds how far one has read in each: "1:57,2:12".


def _read(cursor: str) -> dict[int, int]:
    if not cursor:
        return {}
    if not _CURSOR.fullmatch(cursor) or cursor.count(",") > 1000:
        raise ValidationError({"after": [_("This must be the “next” of an earlier answer, or empty.")]})
    pairs = (pair.split(":") for pair in cursor.split(","))
    return {int(organization): int(sequence) for organization, sequence in pairs}


def _written(seen: dict[int, int]) -> str:
    return ",".join(f"{organization}:{sequence}" for organization, sequence in sorted(seen.items()))


def _after(seen: dict[int, int]) -> Q:
    condition = ~Q(organization__in=list(seen)) if seen else Q()
    for organization, sequence in seen.items():
        condition |= Q(organization=organization, sequence__gt=sequence)
    return condition
