from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from config.adminbase import ReadOnlyAdmin, ReadOnlyInline, VisibleFilter, actor, adopt
from registry.admin.collections import LabelInline
from registry.admin.roles import PlacedAdmin, visible_collections
from registry.models import (
    ArtifactChange,
    ArtifactFile,
    ArtifactVersion,
    Collection,
    Membership,
    Use,
    VersionTag,
)
from registry.services import versions


class VersionTagInline(LabelInline):
    model = VersionTag

    def write(self, request: HttpRequest, row: VersionTag, form: Any) -> None:
        versions.tag_version(row.version, row.name, actor=actor(request))

    def remove(self, request: HttpRequest, row: VersionTag) -> None:
        versions.untag_version(row.version, row.name, actor=actor(request))


class FileInline(ReadOnlyInline):
    model = ArtifactFile
    fields = ["path", "size", "digest"]
    ordering = ["path"]
    per_page = 50


def visible_versions(user: Any) -> QuerySet[ArtifactVersion]:
    """Versions in a collection that the person sees, each with whether that is also true of its home.

    A version linked to a registry is seen by people who do not see the project that it comes from.
    """
    seen = visible_collections(user).values("pk")
    found = ArtifactVersion.objects.annotate(home_seen=Exists(seen.filter(pk=OuterRef("home"))))
    if user.is_superuser:
        return found
    linked = Membership.objects.filter(collection__in=seen, version=OuterRef("pk"))
    return found.filter(Q(home__in=seen) | Exists(linked))


@admin.register(ArtifactVersion)
class ArtifactVersionAdmin(PlacedAdmin):
    """What a version holds does not change; its tags do."""

    list_display = ["__str__", "made_in", "made_by", "state", "size", "created_at"]
    list_filter = ["state"]
    search_fields = ["home__name", "=digest"]
    list_select_related = ["home__project__team", "home__registry", "run"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    fields = [
        "made_in",
        "made_by",
        "digest",
        "description",
        "metadata",
        "state",
        "size",
        "created_at",
        "committed_at",
    ]
    readonly_fields = fields
    inlines = [VersionTagInline, FileInline]
    collection_path = "home"
    can_add = can_delete = False

    def visible(self, user: Any) -> QuerySet[ArtifactVersion]:
        return visible_versions(user)

    @admin.display(description=gettext_lazy("made in"), empty_value="–")
    def made_in(self, obj: Any) -> Collection | None:
        return obj.home if obj.home_seen else None

    @admin.display(description=gettext_lazy("run"), empty_value="–")
    def made_by(self, obj: Any) -> Any:
        return obj.run if obj.home_seen else None


class OfVersionAdmin(PlacedAdmin):
    collection_path = "version__home"
    list_select_related = ["version__home__project__team", "version__home__registry"]

    def visible(self, user: Any) -> QuerySet[Any]:
        rows = self.model._default_manager.all()
        if user.is_superuser:
            return rows  # type: ignore[no-any-return]
        return rows.filter(version__in=visible_versions(user).values("pk"))  # type: ignore[no-any-return]


@admin.register(VersionTag)
class VersionTagAdmin(OfVersionAdmin):
    list_display = ["name", "version"]
    search_fields = ["name", "version__home__name"]
    fields = ["version", "name"]
    autocomplete_fields = ["version"]
    can_change = False

    def write(self, request: HttpRequest, obj: VersionTag, form: Any) -> None:
        versions.tag_version(obj.version, obj.name, actor=actor(request))
        adopt(obj, VersionTag.objects.get(version=obj.version, name=obj.name))

    def remove(self, request: HttpRequest, obj: VersionTag) -> None:
        versions.untag_version(obj.version, obj.name, actor=actor(request))


@admin.register(ArtifactFile)
class ArtifactFileAdmin(OfVersionAdmin, ReadOnlyAdmin):
    list_display = ["path", "version", "size", "digest"]
    search_fields = ["path", "=digest"]
    fields = list_display
    write_role = None
    can_add = can_change = can_delete = False


@admin.register(Use)
class UseAdmin(OfVersionAdmin, ReadOnlyAdmin):
    """What runs read is noted by the runs."""

    list_display = ["version", "run", "created_at"]
    search_fields = ["version__home__name", "run__name"]
    list_select_related = [*OfVersionAdmin.list_select_related, "run"]
    fields = list_display
    write_role = None
    can_add = can_change = can_delete = False


@admin.register(ArtifactChange)
class ArtifactChangeAdmin(PlacedAdmin, ReadOnlyAdmin):
    list_display = ["received_at", "kind", "label", "collection", "sequence", "version", "actor"]
    list_filter = ["kind", ("collection__registry", VisibleFilter)]
    search_fields = ["label", "collection__name"]
    list_select_related = [
        "collection__project__team",
        "collection__registry",
        "version__home",
        "previous__home",
        "actor",
    ]
    date_hierarchy = "received_at"
    fields = [*list_display, "previous", "aliases"]
    write_role = None
    can_add = can_change = can_delete = False
