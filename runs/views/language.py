from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from runs.language import speak_to
from runs.models import User
from runs.services import people


@require_POST
@login_required
def choose(request: HttpRequest) -> HttpResponse:
    """The person's language, from the small form on their profile."""
    person = cast(User, request.user)
    try:
        people.set_language(person, request.POST.get("language", ""))
    except ValidationError as refusal:
        messages.error(request, " ".join(refusal.messages))
    else:
        speak_to(person)
        messages.success(request, _("Language saved."))
    return redirect(_where_the_form_was(request))


def _where_the_form_was(request: HttpRequest) -> str:
    place = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(place, {request.get_host()}, require_https=request.is_secure())
    return place if ours else reverse("home")
