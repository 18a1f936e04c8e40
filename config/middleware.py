"""What no request may carry, refused before anything looks at it."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

# Uploads are streamed to the storage and have no bound.
_UPLOAD = "/files/"


class RequestBoundary:
    """413 for a body over 32 MB (files excepted), 400 for a NUL in the path or the query."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        if "\x00" in request.path_info or "%00" in query or "\x00" in query:
            return JsonResponse({"detail": _("NUL characters are not allowed.")}, status=400)
        if _too_large(request):
            return JsonResponse({"detail": _("A body may have 32 MB at most.")}, status=413)
        return self.get_response(request)


def _too_large(request: HttpRequest) -> bool:
    if request.method == "PUT" and _UPLOAD in request.path_info:
        return False
    length = request.META.get("CONTENT_LENGTH") or "0"
    return not length.isdecimal() or int(length) > settings.TRIPLINE_MAX_BODY
