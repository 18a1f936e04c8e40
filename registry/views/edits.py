"""Aliases, tags and links, changed by the forms on the pages of collections and versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from registry import access
from registry.models import Alias, Collection, Membership
from registry.services import collections as services, versions as version_services
from registry.views.collections import in_collection
from registry.views.lookups import visible_collections
from runs import keyset
from runs.models import Role, User
from runs.names import normalized

# Each gives the sentence that says what was done, "" where there was nothing to do.
CollectionDeed = Callable[[HttpRequest, Collection, str], str]
VersionDeed = Callable[[HttpRequest, Membership, str], str]


@require_POST
@login_required
def collection(request: HttpRequest, pk: int, deed: str) -> HttpResponse:
    """`label` is the tag or the alias, `version` where the alias goes to."""
    found = get_object_or_404(visible_collections(request), pk=pk)
    act = _known(COLLECTION_DEEDS, deed)
    _tell(request, lambda: act(request, found, _label(request)))
    return redirect("artifact", pk)


@require_POST
@login_required
def version(request: HttpRequest, pk: int, index: int, deed: str) -> HttpResponse:
    """One version in a collection; `collection` is the one that it shall be linked to."""
    found = get_object_or_404(visible_collections(request), pk=pk)
    home = ("version__home__project__team", "version__home__registry")
    place = get_object_or_404(found.memberships.select_related(*home), index=index)
    place.collection = found  # with what a page of it shows
    act = _known(VERSION_DEEDS, deed)
    _tell(request, lambda: act(request, place, _label(request)))
    stays = Membership.objects.filter(pk=place.pk).exists()
    return redirect("artifact-version", pk, f"v{index}") if stays else redirect("artifact", pk)


def _known(deeds: Mapping[str, Callable[..., str]], deed: str) -> Callable[..., str]:
    if deed not in deeds:
        raise Http404
    return deeds[deed]


def _label(request: HttpRequest) -> str:
    return normalized(request.POST.get("label", "").strip())


def _tell(request: HttpRequest, act: Callable[[], str]) -> None:
    """Do it and flash what was done, or in the services' words why not."""
    try:
        done = act()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, done or _("It is like this already."))


def _me(request: HttpRequest) -> User:
    return cast(User, request.user)


# --- On a collection ------------------------------------------------------------------------------


def _tag_collection(request: HttpRequest, found: Collection, tag: str) -> str:
    access.require_role(request.user, found, Role.MEMBER)
    added = services.tag_collection(found, tag, actor=_me(request))
    return _("The tag “%(name)s” is added.") % {"name": tag} if added else ""


def _untag_collection(request: HttpRequest, found: Collection, tag: str) -> str:
    access.require_role(request.user, found, Role.MEMBER)
    removed = services.untag_collection(found, tag, actor=_me(request))
    return _("The tag “%(name)s” is removed.") % {"name": tag} if removed else ""


def _set_alias(request: HttpRequest, found: Collection, alias: str) -> str:
    place = in_collection(found, request.POST.get("version", ""))
    if place is None:
        raise ValidationError(_("This version is not in the collection."))
    return _move_alias(request, found, alias, place)


def _move_alias(request: HttpRequest, found: Collection, alias: str, place: Membership) -> str:
    access.require_alias_role(request.user, found, alias)
    moved = services.set_alias(found, alias, place.version, actor=_me(request))
    said = _("The alias “%(name)s” is on v%(index)d now.")
    return said % {"name": alias, "index": place.index} if moved else ""


def _remove_alias(request: HttpRequest, found: Collection, alias: str) -> str:
    access.require_alias_role(request.user, found, alias)
    removed = services.remove_alias(found, alias, actor=_me(request))
    return _("The alias “%(name)s” is removed.") % {"name": alias} if removed else ""


COLLECTION_DEEDS: dict[str, CollectionDeed] = {
    "tag": _tag_collection,
    "untag": _untag_collection,
    "alias": _set_alias,
    "unalias": _remove_alias,
}


# --- On a version ---------------------------------------------------------------------------------


def _tag_version(request: HttpRequest, place: Membership, tag: str) -> str:
    access.require_version_member(request.user, place.version)
    added = version_services.tag_version(place.version, tag, actor=_me(request))
    return _("The tag “%(name)s” is added.") % {"name": tag} if added else ""


def _untag_version(request: HttpRequest, place: Membership, tag: str) -> str:
    access.require_version_member(request.user, place.version)
    removed = version_services.untag_version(place.version, tag, actor=_me(request))
    return _("The tag “%(name)s” is removed.") % {"name": tag} if removed else ""


def _set_alias_here(request: HttpRequest, place: Membership, alias: str) -> str:
    return _move_alias(request, place.collection, alias, place)


def _remove_alias_here(request: HttpRequest, place: Membership, alias: str) -> str:
    """Only from this version: it may have moved on since the page was read."""
    if not Alias.objects.filter(collection=place.collection, version=place.version, name=alias).exists():
        return ""
    return _remove_alias(request, place.collection, alias)


def _link(request: HttpRequest, place: Membership, alias: str) -> str:
    shelf = keyset.number(request.POST.get("collection"))
    found = visible_collections(request).filter(registry__isnull=False, pk=shelf or 0).first()
    if found is None:
        raise ValidationError(_("Choose a collection of a registry."))
    aliases = [alias] if alias else []
    access.require_link_role(request.user, found, place.version, aliases=aliases)
    made, created = version_services.link_version(found, place.version, aliases=aliases, actor=_me(request))
    said = _("It is linked: %(collection)s:v%(index)d.")
    return said % {"collection": found, "index": made.index} if created or alias else ""


def _unlink(request: HttpRequest, place: Membership, _alias: str) -> str:
    access.require_unlink_role(request.user, place.collection, place.version)
    gone = version_services.unlink_version(place.collection, place.version, actor=_me(request))
    return _("v%(index)d is unlinked.") % {"index": place.index} if gone else ""


VERSION_DEEDS: dict[str, VersionDeed] = {
    "tag": _tag_version,
    "untag": _untag_version,
    "alias": _set_alias_here,
    "unalias": _remove_alias_here,
    "link": _link,
    "unlink": _unlink,
}
