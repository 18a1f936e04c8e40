from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from config.adminbase import (
    DeletedFilter,
    NumberInput,
    ServiceForm,
    ServiceInline,
    VisibleFilter,
    actor,
    adopt,
)
from registry import access
from registry.admin.roles import PlacedAdmin, visible_collections
from registry.models import Alias, Collection, CollectionTag, Membership, Registry
from registry.services import collections, versions
from runs.models import Project, Role
from runs.services.saving import save_named


class LabelInline(ServiceInline):
    """Tags: added and taken away, never changed."""

    fields = ["name"]
    can_change = False


class CollectionTagInline(LabelInline):
    model = CollectionTag

    def write(self, request: HttpRequest, row: CollectionTag, form: Any) -> None:
        collections.tag_collection(row.collection, row.name, actor=actor(request))

    def remove(self, request: HttpRequest, row: CollectionTag) -> None:
        collections.untag_collection(row.collection, row.name, actor=actor(request))


def with_number(aliases: QuerySet[Alias]) -> QuerySet[Alias]:
    """Each alias with the number of its version in its collection."""
    place = Membership.objects.filter(collection=OuterRef("collection"), version=OuterRef("version"))
    return aliases.annotate(number=Subquery(place.values("index")[:1]))


class AliasForm(ServiceForm):
    """An alias, and by its number the version of the collection that it sits on."""

    number = forms.IntegerField(
        label=gettext_lazy("version number"),
        min_value=0,
        widget=NumberInput,
        help_text=gettext_lazy("3 for v3"),
    )
    error_fields = {"version": "number"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["number"] = self.instance.number
            if "name" in self.fields:
                self.fields["name"].disabled = True

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        collection, number = cleaned.get("collection"), cleaned.get("number")
        collection = collection or (self.instance.collection if self.instance.collection_id else None)
        if collection is not None and number is not None:
            place = Membership.objects.filter(collection=collection, index=number).select_related("version")
            found = place.first()
            if found is None:
                self.add_error("number", _("The collection has no v%(number)d.") % {"number": number})
            else:
                self.instance.version = found.version
        return cleaned


def put_alias(request: HttpRequest, alias: Alias) -> None:
    access.require_alias_role(actor(request), alias.collection, alias.name)
    collections.set_alias(alias.collection, alias.name, alias.version, actor=actor(request))


def take_alias(request: HttpRequest, alias: Alias) -> None:
    access.require_alias_role(actor(request), alias.collection, alias.name)
    collections.remove_alias(alias.collection, alias.name, actor=actor(request))


class AliasInline(ServiceInline):
    model = Alias
    form = AliasForm
    fields = ["name", "number"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alias]:
        return with_number(super().get_queryset(request))

    def write(self, request: HttpRequest, row: Alias, form: Any) -> None:
        put_alias(request, row)

    def remove(self, request: HttpRequest, row: Alias) -> None:
        take_alias(request, row)


class CollectionForm(ServiceForm):
    def _get_validation_exclusions(self) -> set[str]:
        """Whether the name is good and free is the service's to say, in words."""
        return {*super()._get_validation_exclusions(), "name"}  # type: ignore[misc]  # not in the stubs

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "project" in self.fields and bool(cleaned.get("project")) == bool(cleaned.get("registry")):
            self.add_error("project", _("Choose a project or a registry, not both."))
        return cleaned


@admin.register(Collection)
class CollectionAdmin(PlacedAdmin):
    list_display = ["name", "type", "project", "registry", "next_index", "created_at"]
    list_filter = ["type", DeletedFilter, ("registry", VisibleFilter), ("project", VisibleFilter)]
    search_fields = ["name"]
    list_select_related = ["project__team", "registry"]
    form = CollectionForm
    fields = ["project", "registry", "name", "type", "description", "created_at", "deleted_at"]
    readonly_fields = ["created_at", "deleted_at"]
    fixed_fields = ["project", "registry"]
    autocomplete_fields = ["project", "registry"]
    inlines = [AliasInline, CollectionTagInline]
    actions = ["restore"]
    collection_path = ""
    soft_delete = True

    def visible(self, user: Any) -> QuerySet[Collection]:
        return visible_collections(user)

    def choices(self, request: HttpRequest) -> QuerySet[Collection]:
        return super().choices(request).filter(deleted_at=None)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Collection], search_term: str
    ) -> tuple[QuerySet[Collection], bool]:
        match = request.resolver_match
        if match is not None and match.url_name == "autocomplete":
            queryset = queryset.filter(deleted_at=None)
        return super().get_search_results(request, queryset, search_term)  # type: ignore[no-any-return]

    def write(self, request: HttpRequest, obj: Collection, form: Any) -> None:
        if obj.pk:
            save_named(obj)
            return
        made = collections.create_collection(
            cast(Project | Registry, obj.project or obj.registry),
            obj.name,
            actor=actor(request),
            type=obj.type,
            description=obj.description,
        )
        adopt(obj, made)

    def remove(self, request: HttpRequest, obj: Collection) -> None:
        access.require_delete_role(actor(request), obj)
        collections.delete_collection(obj)

    @admin.action(description=gettext_lazy("Restore"), permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Collection]) -> None:
        found = self.writable(request, queryset.exclude(deleted_at=None))
        for collection in found:
            collections.restore_collection(collection)
        text = ngettext("%(count)d collection restored.", "%(count)d collections restored.", len(found))
        self.message_user(request, text % {"count": len(found)}, messages.SUCCESS)


@admin.register(CollectionTag)
class CollectionTagAdmin(PlacedAdmin):
    list_display = ["name", "collection"]
    search_fields = ["name", "collection__name"]
    list_select_related = ["collection__project__team", "collection__registry"]
    fields = ["collection", "name"]
    autocomplete_fields = ["collection"]
    can_change = False

    def write(self, request: HttpRequest, obj: CollectionTag, form: Any) -> None:
        collections.tag_collection(obj.collection, obj.name, actor=actor(request))
        adopt(obj, CollectionTag.objects.get(collection=obj.collection, name=obj.name))

    def remove(self, request: HttpRequest, obj: CollectionTag) -> None:
        collections.untag_collection(obj.collection, obj.name, actor=actor(request))


@admin.register(Alias)
class AliasAdmin(PlacedAdmin):
    """To add an alias that exists is refused; to change it is to move it."""

    list_display = ["name", "collection", "at", "version"]
    search_fields = ["name", "collection__name"]
    list_select_related = ["collection__project__team", "collection__registry", "version__home"]
    form = AliasForm
    fields = ["collection", "name", "number"]
    fixed_fields = ["collection", "name"]
    autocomplete_fields = ["collection"]

    def visible(self, user: Any) -> QuerySet[Alias]:
        return with_number(super().visible(user))

    def has_role(self, request: HttpRequest, obj: Alias, role: Role) -> bool:
        registry = obj.collection.registry
        protected = registry is not None and obj.name in registry.protected_aliases
        return super().has_role(request, obj, Role.ADMIN if protected else role)

    @admin.display(description=gettext_lazy("number"), ordering="number")
    def at(self, obj: Any) -> str:
        return f"v{obj.number}"

    def write(self, request: HttpRequest, obj: Alias, form: Any) -> None:
        put_alias(request, obj)
        adopt(obj, Alias.objects.get(collection=obj.collection, name=obj.name))

    def remove(self, request: HttpRequest, obj: Alias) -> None:
        take_alias(request, obj)


@admin.register(Membership)
class MembershipAdmin(PlacedAdmin):
    """Adding links a version to a registry's collection; deleting takes it out again."""

    list_display = ["collection", "index", "version", "linked_at", "linked_by"]
    list_filter = [("collection__registry", VisibleFilter)]
    search_fields = ["collection__name", "version__digest"]
    list_select_related = ["collection__project__team", "collection__registry", "version__home", "linked_by"]
    show_full_result_count = False
    fields = ["collection", "version", "index", "linked_at", "linked_by"]
    readonly_fields = ["index", "linked_at", "linked_by"]
    autocomplete_fields = ["collection", "version"]
    can_change = False

    def write(self, request: HttpRequest, obj: Membership, form: Any) -> None:
        access.require_link_role(actor(request), obj.collection, obj.version)
        made, _created = versions.link_version(obj.collection, obj.version, actor=actor(request))
        adopt(obj, made)

    def remove(self, request: HttpRequest, obj: Membership) -> None:
        access.require_unlink_role(actor(request), obj.collection, obj.version)
        versions.unlink_version(obj.collection, obj.version, actor=actor(request))
