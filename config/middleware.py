"""What no request may carry, refused before anything looks at it; and what every refusal looks like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import translation
from django.utils.translation import gettext as _

from runs import cause

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# Uploads are streamed to the storage and have no bound.
_UPLOAD = re.compile(r"/api/v1/versions/[0-9]+/files/.")
_CHARSET = re.compile(r";\s*charset\s*=[^;]*", re.IGNORECASE)
# Where WSGI puts the header.
_CAUSE = "HTTP_" + cause.HEADER.upper().replace("-", "_")
# Below these, programs read the answers.
_JSON_PATHS = ("/api/", "/inbox/")


def utf8_only(application: WSGIApplication) -> WSGIApplication:
    """JSON and URLs are UTF-8, whatever charset a request claims.

    Django looks the claimed one up among all of Python's codecs before any middleware is asked: some of
    them decompress, and most are no text encodings and end in an error.
    """

    def asked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["CONTENT_TYPE"] = _CHARSET.sub("", environ.get("CONTENT_TYPE", ""))
        return application(environ, start_response)

    return asked


class RequestBoundary:
    """413 for a body over 32 MB (files excepted), 411 for one without a length, 400 for a NUL in the URL.

    Below `/api/` every refusal is JSON, those of Django itself included.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Refusals are in the reader's language, and what it was set to ends with the request.
        with translation.override(translation.get_language_from_request(request)):
            with cause.caused_by(request.META.get(_CAUSE, "")):
                answer = _refusal(request) or self.get_response(request)
            if answer.status_code >= HTTPStatus.BAD_REQUEST and request.path_info.startswith(_JSON_PATHS):
                return _as_json(answer)
        return answer


def _refusal(request: HttpRequest) -> HttpResponse | None:
    query = request.META.get("QUERY_STRING", "")
    if "\x00" in request.path_info or "%00" in query or "\x00" in query:
        return JsonResponse(_nul_by_field(query), status=400)
    if request.META.get("HTTP_TRANSFER_ENCODING") and not request.META.get("CONTENT_LENGTH"):
        # Some servers pass such a body on without saying where it ends: it would be taken for none.
        return JsonResponse({"detail": _("Send a Content-Length with the body.")}, status=411)
    if _too_large(request):
        return JsonResponse({"detail": _("A body may have 32 MB at most.")}, status=413)
    return None


def _nul_by_field(query: str) -> dict[str, list[str]]:
    """The parameters that hold one; "path" where it is there, or in a parameter's name."""
    given = parse_qs(query, keep_blank_values=True)
    names = [name for name, values in given.items() if "\x00" not in name and "\x00" in "".join(values)]
    return {name: [_("NUL characters are not allowed.")] for name in names or ["path"]}


def _too_large(request: HttpRequest) -> bool:
    if request.method == "PUT" and _UPLOAD.match(request.path_info):
        return False
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isascii() or not length.isdecimal():
        return True
    # Python refuses to read a number of thousands of digits.
    return int(length[:18]) > settings.TRIPLINE_MAX_BODY


def _as_json(answer: HttpResponse) -> HttpResponse:
    if answer.headers.get("Content-Type", "").startswith("application/json"):
        return answer
    refusal = JsonResponse({"detail": _reason(answer)}, status=answer.status_code)
    for name in ("Allow", "Retry-After"):
        if name in answer.headers:
            refusal[name] = answer[name]
    return refusal


def _reason(answer: HttpResponse) -> str:
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return _("Not found.")
    if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _("Something went wrong inside Tripline; its log says what.")
    return answer.reason_phrase
