from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from config.adminbase import (
    DeletedFilter,
    JSONField,
    NumberInput,
    ReadOnlyAdmin,
    ReadOnlyInline,
    ScopedAdmin,
    ServiceForm,
    ServiceInline,
    VisibleFilter,
    actor,
    adopt,
    follow,
    team_roles,
)
from registry import access
from registry.models import (
    Alias,
    ArtifactChange,
    ArtifactFile,
    ArtifactVersion,
    Collection,
    CollectionTag,
    Membership,
    Registry,
    RegistryMember,
    VersionTag,
    Visibility,
)
from registry.names import validate_alias
from registry.services import collections, versions
from runs import access as runs_access
from runs.admin import MemberForm
from runs.models import Role
from runs.services.saving import save_named


def registry_roles(request: HttpRequest) -> dict[int, Role]:
    """The person's role by registry id, read once per request."""
    if not hasattr(request, "registry_roles"):
        rows = RegistryMember.objects.filter(user=request.user.pk).values_list("registry", "role")
        request.registry_roles = {registry: Role(role) for registry, role in rows}
    return request.registry_roles  # type: ignore[no-any-return]


def has_registry_role(request: HttpRequest, registry_id: int | None, role: Role) -> bool:
    return request.user.is_superuser or registry_roles(request).get(registry_id or 0) in role.and_above  # type: ignore[union-attr]


def holds(request: HttpRequest, collection: Collection, role: Role) -> bool:
    """Whether the person has the role where the collection lives: in its registry, or its project's team."""
    if collection.project is None:
        return has_registry_role(request, collection.registry_id, role)
    held = team_roles(request).get(collection.project.team_id)
    return request.user.is_superuser or held in role.and_above  # type: ignore[union-attr]


def visible_collections(user: Any) -> QuerySet[Collection]:
    """Collections that the person sees, deleted ones included."""
    if user.is_superuser:
        return Collection.objects.all()
    return Collection.objects.filter(
        Q(project__in=runs_access.projects(user).values("pk"))
        | Q(registry__in=access.registries(user).values("pk"))
    )


# --- Registries -----------------------------------------------------------------------------------


class RegistryForm(ServiceForm):
    protected_aliases = JSONField(
        label=gettext_lazy("protected aliases"),
        kind=list,
        required=False,
        help_text=gettext_lazy('Only admins of the registry may move these: ["production"].'),
    )

    def clean_protected_aliases(self) -> list[str]:
        aliases = self.cleaned_data["protected_aliases"]
        for alias in aliases:
            if not isinstance(alias, str):
                raise ValidationError(_("Each must be a string."))
            validate_alias(alias)
        return aliases  # type: ignore[no-any-return]


class RegistryMemberInline(ServiceInline):
    model = RegistryMember
    form = MemberForm
    fields = ["username", "role"]
    select_related = ["user", "registry"]
    write_role = Role.ADMIN

    def write(self, request: HttpRequest, row: RegistryMember, form: Any) -> None:
        collections.set_registry_member(row.registry, row.user, role=Role(form.cleaned_data["role"]))

    def remove(self, request: HttpRequest, row: RegistryMember) -> None:
        row.delete()


@admin.register(Registry)
class RegistryAdmin(ScopedAdmin):
    """Members of a team of the organization make registries and are then their first admin."""

    list_display = ["name", "organization", "visibility", "created_at"]
    list_filter = ["visibility", ("organization", VisibleFilter)]
    search_fields = ["name"]
    ordering = ["name"]
    list_select_related = ["organization"]
    form = RegistryForm
    fields = ["organization", "name", "description", "visibility", "protected_aliases", "created_at"]
    readonly_fields = ["created_at"]
    fixed_fields = ["organization"]
    inlines = [RegistryMemberInline]
    write_role = Role.ADMIN

    def visible(self, user: Any) -> QuerySet[Registry]:
        return access.registries(user)

    def has_role(self, request: HttpRequest, obj: Registry, role: Role) -> bool:
        return has_registry_role(request, obj.pk, role)

    def has_role_somewhere(self, request: HttpRequest, role: Role) -> bool:
        return any(held in role.and_above for held in registry_roles(request).values())

    def has_add_permission(self, request: HttpRequest) -> bool:
        somewhere = any(held in Role.MEMBER.and_above for held in team_roles(request).values())
        return somewhere or request.user.is_superuser  # type: ignore[union-attr]

    def require_write(self, request: HttpRequest, rows: Any) -> None:
        super().require_write(request, [registry for registry in rows if registry.pk])

    def write(self, request: HttpRequest, obj: Registry, form: Any) -> None:
        if obj.pk:
            save_named(obj)
            return
        runs_access.require_some_team(actor(request), obj.organization)
        made = collections.create_registry(
            obj.name,
            owner=actor(request),
            organization=obj.organization,
            description=obj.description,
            visibility=Visibility(obj.visibility),
            protected_aliases=obj.protected_aliases,
        )
        adopt(obj, made)


@admin.register(RegistryMember)
class RegistryMemberAdmin(ReadOnlyAdmin):
    """All memberships at a glance; they are written on the registry's page."""

    list_display = ["user", "registry", "role"]
    list_filter = ["role", ("registry", VisibleFilter)]
    search_fields = ["user__username", "registry__name"]
    list_select_related = ["user", "registry"]
    fields = ["registry", "user", "role"]

    def visible(self, user: Any) -> QuerySet[RegistryMember]:
        return RegistryMember.objects.filter(registry__in=access.registries(user))


# --- Collections ----------------------------------------------------------------------------------


class PlacedAdmin(ScopedAdmin):
    """Base of what is held by a collection: the role is that in its registry or in its project's team."""

    collection_path = "collection"
    write_role = Role.MEMBER

    def visible(self, user: Any) -> QuerySet[Any]:
        rows = self.model._default_manager.all()
        if user.is_superuser:
            return rows  # type: ignore[no-any-return]
        return rows.filter(**{f"{self.collection_path}__in": visible_collections(user).values("pk")})  # type: ignore[no-any-return]

    def has_role(self, request: HttpRequest, obj: Any, role: Role) -> bool:
        return holds(request, follow(obj, self.collection_path), role)

    def has_role_somewhere(self, request: HttpRequest, role: Role) -> bool:
        held = [*team_roles(request).values(), *registry_roles(request).values()]
        return any(one in role.and_above for one in held)


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
        parent = obj.project or obj.registry
        assert parent is not None  # the form asks for one
        made = collections.create_collection(
            parent, obj.name, actor=actor(request), type=obj.type, description=obj.description
        )
        adopt(obj, made)

    def remove(self, request: HttpRequest, obj: Collection) -> None:
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
        made, _created = versions.link_version(obj.collection, obj.version, actor=actor(request))
        adopt(obj, made)

    def remove(self, request: HttpRequest, obj: Membership) -> None:
        versions.unlink_version(obj.collection, obj.version, actor=actor(request))


# --- Versions -------------------------------------------------------------------------------------


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
    fields = ["made_in", "made_by", "digest", "description", "metadata", "state", "size", "created_at",
              "committed_at"]
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


@admin.register(ArtifactChange)
class ArtifactChangeAdmin(PlacedAdmin, ReadOnlyAdmin):
    list_display = ["received_at", "kind", "label", "collection", "sequence", "version", "actor"]
    list_filter = ["kind", ("collection__registry", VisibleFilter)]
    search_fields = ["label", "collection__name"]
    list_select_related = ["collection__project__team", "collection__registry", "version__home",
                           "previous__home", "actor"]
    date_hierarchy = "received_at"
    fields = [*list_display, "previous", "aliases"]
    write_role = None
    can_add = can_change = can_delete = False
