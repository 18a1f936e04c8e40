"""What a page may load and run (Content-Security-Policy), whoever wrote the names that stand on it.

Our own few lines rather than a package: Django has a policy of its own from 6.0 on, and until then all there
is to do is one header, the same for every page.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"

_COMMON = "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
# Nothing inline, nothing from elsewhere.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    + _COMMON
)
# The admin's pages (Alpine evaluates its attributes) and the API's are those of packages.
_OF_PACKAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; " + _COMMON
)
_PACKAGES = ("/admin/", "/api/v1/docs")


class PagePolicy:
    """Sets the policy of every answer that has none of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self.get_response(request)
        loose = request.path_info.startswith(_PACKAGES)
        answer.headers.setdefault(HEADER, _OF_PACKAGES if loose else STRICT)
        return answer
