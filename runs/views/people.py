"""Who I am and my keys; a team's people and its service keys.

A key is shown once, in the answer to the form that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from runs import access
from runs.models import ApiKey, Member, Role, Team, User
from runs.names import normalized
from runs.services import people

_METHODS = ["GET", "HEAD", "POST"]


@contextmanager
def _refusals_shown(request: HttpRequest) -> Iterator[None]:
    """What a service refuses in the block, in its words."""
    try:
        yield
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))


@require_http_methods(_METHODS)
@never_cache
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """My teams and roles, and my keys; the form makes another one."""
    me = cast(User, request.user)
    made = ""
    if request.method == "POST":
        with _refusals_shown(request):
            _row, made = people.create_key(me, request.POST.get("name", ""))
    context = {
        "memberships": me.memberships.select_related("team").order_by("team__name"),
        "keys": ApiKey.objects.filter(user=me, team=None),
        "made": made,
        "base_url": settings.TRIPLINE_BASE_URL,
    }
    return render(request, "runs/profile.html", context)


@require_POST
@login_required
def revoke_key(request: HttpRequest, pk: int) -> HttpResponse:
    key = get_object_or_404(ApiKey, pk=pk, user=cast(User, request.user), team=None)
    people.revoke_key(key)
    messages.success(request, _("The key “%(name)s” is revoked.") % {"name": key.name})
    return redirect("profile")


# --- Teams ----------------------------------------------------------------------------------------


@require_http_methods(_METHODS)
@never_cache
@login_required
def members(request: HttpRequest, team_name: str) -> HttpResponse:
    """A team's people and their roles; its admins change them, and make service keys by the form."""
    team = _team_or_404(request, team_name)
    made = ""
    if request.method == "POST":
        access.require_role(request.user, team, Role.ADMIN)
        with _refusals_shown(request):
            _row, made = people.create_service_key(team, request.POST.get("name", ""))
    is_admin = access.has_role(request.user, team, Role.ADMIN)
    context = {
        "team": team,
        "members": team.members.select_related("user").order_by("user__is_service", "user__username"),
        "roles": Role.choices,
        "is_admin": is_admin,
        "keys": ApiKey.objects.filter(team=team).select_related("user") if is_admin else [],
        "made": made,
        "base_url": settings.TRIPLINE_BASE_URL,
    }
    return render(request, "runs/members.html", context)


def _team_or_404(request: HttpRequest, name: str) -> Team:
    return get_object_or_404(access.teams(request.user), name=normalized(name))


def _team_to_change(request: HttpRequest, name: str) -> Team:
    team = _team_or_404(request, name)
    access.require_role(request.user, team, Role.ADMIN)
    return team


@require_POST
@login_required
def add_member(request: HttpRequest, team_name: str) -> HttpResponse:
    """Put somebody who has an account into the team."""
    team = _team_to_change(request, team_name)
    name, role = request.POST.get("username", "").strip(), request.POST.get("role", "")
    person = User.objects.filter(username=name, is_active=True, is_service=False).first()
    if person is None:
        messages.error(request, _("There is no user “%(name)s”.") % {"name": name[:150]})
    elif role not in Role.values:
        messages.error(request, _("Choose a role."))
    elif team.members.filter(user=person).exists():
        messages.error(request, _("%(name)s is in the team already.") % {"name": name})
    else:
        people.set_member(team, person, role=Role(role))
        messages.success(request, _("%(name)s is in the team now.") % {"name": name})
    return redirect("team-members", team.name)


@require_POST
@login_required
def change_member(request: HttpRequest, team_name: str, pk: int) -> HttpResponse:
    team = _team_to_change(request, team_name)
    member = get_object_or_404(Member.objects.select_related("user"), pk=pk, team=team)
    role = request.POST.get("role", "")
    if role not in Role.values:
        messages.error(request, _("Choose a role."))
    else:
        with _refusals_shown(request):
            people.set_member(team, member.user, role=Role(role))
            said = _("%(name)s has the role “%(role)s” now.")
            messages.success(request, said % {"name": member.user.username, "role": Role(role).label})
    return redirect("team-members", team.name)


@require_POST
@login_required
def remove_member(request: HttpRequest, team_name: str, pk: int) -> HttpResponse:
    team = _team_to_change(request, team_name)
    member = get_object_or_404(Member.objects.select_related("user"), pk=pk, team=team)
    with _refusals_shown(request):
        people.remove_member(member)
        messages.success(request, _("%(name)s is no longer in the team.") % {"name": member.user.username})
    if access.teams(request.user).filter(pk=team.pk).exists():
        return redirect("team-members", team.name)
    return redirect("profile")


@require_POST
@login_required
def revoke_service_key(request: HttpRequest, team_name: str, pk: int) -> HttpResponse:
    team = _team_to_change(request, team_name)
    key = get_object_or_404(ApiKey, pk=pk, team=team)
    people.revoke_key(key)
    messages.success(request, _("The key “%(name)s” is revoked.") % {"name": key.name})
    return redirect("team-members", team.name)
