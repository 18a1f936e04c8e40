"""Which language a reader gets: the one they chose, or else the one that was asked for (Accept-Language).

In a browser the person's choice comes first, for browsers ask by themselves. A program that asks does so on
purpose: with an API key the owner's choice is for those that say nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from runs.models import User


def speak_to(user: User, *, asked: str = "") -> None:
    """For the rest of the request; Django's own middleware sets the language of the next one anew."""
    if user.language and not asked:
        translation.activate(user.language)


class ReaderLanguage:
    """Stands after the middleware that knows the person; who has no session has chosen nothing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated:
            speak_to(request.user)
            request.LANGUAGE_CODE = translation.get_language() or settings.LANGUAGE_CODE
        return self.get_response(request)
