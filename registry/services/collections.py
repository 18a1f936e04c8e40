"""Write verbs for registries and collections, and for their tags and aliases."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from registry.models import (
    Alias,
    ArtifactVersion,
    ChangeKind,
    Collection,
    CollectionTag,
    Membership,
    Registry,
    RegistryMember,
    Visibility,
)
from registry.names import validate_alias, validate_tag
from registry.services.changes import lock, record
from runs import clock
from runs.errors import named
from runs.models import Organization, Project, Role, User
from runs.names import normalized
from runs.services.saving import save_named, taken


@transaction.atomic
def create_registry(
    name: str,
    *,
    owner: User | None,
    organization: Organization | None = None,
    description: str = "",
    visibility: Visibility = Visibility.ORGANIZATION,
    protected_aliases: list[str] | None = None,
) -> Registry:
    """A new registry, with `owner` as its first admin."""
    registry = Registry(
        organization=organization or Organization.default(),
        name=name,
        description=description,
        visibility=visibility,
        protected_aliases=protected_aliases or [],
    )
    save_named(registry)
    if owner is not None:
        set_registry_member(registry, owner, role=Role.ADMIN)
    return registry


def set_registry_member(registry: Registry, user: User, *, role: Role) -> RegistryMember:
    member, _created = RegistryMember.objects.update_or_create(
        registry=registry, user=user, defaults={"role": role}
    )
    return member


@transaction.atomic
def create_collection(
    parent: Project | Registry,
    name: str,
    *,
    actor: User | None,
    type: str = "model",
    description: str = "",
) -> Collection:
    collection = Collection(
        project=parent if isinstance(parent, Project) else None,
        registry=parent if isinstance(parent, Registry) else None,
        name=name,
        type=type,
        description=description,
    )
    save_named(collection)
    record(ChangeKind.COLLECTION_CREATED, collection, actor=actor)
    return collection


def delete_collection(collection: Collection) -> None:
    """Hide the collection and free its name; `restore_collection` brings it back."""
    Collection.objects.filter(pk=collection.pk, deleted_at__isnull=True).update(deleted_at=clock.now())


def restore_collection(collection: Collection) -> None:
    """Raises `Conflict` when another collection has the name by now."""
    try:
        with transaction.atomic():
            Collection.objects.filter(pk=collection.pk).update(deleted_at=None)
    except IntegrityError as error:
        raise taken(collection) from error


@transaction.atomic
def tag_collection(collection: Collection, tag: str, *, actor: User | None) -> bool:
    """Add a tag; False when the collection has it already (no event)."""
    tag = normalized(tag)
    with named("tag"):
        validate_tag(tag)
    locked = lock(collection)
    _row, added = CollectionTag.objects.get_or_create(collection=locked, name=tag)
    if added:
        record(ChangeKind.COLLECTION_TAG_ADDED, locked, label=tag, actor=actor)
    return added


@transaction.atomic
def untag_collection(collection: Collection, tag: str, *, actor: User | None) -> bool:
    tag = normalized(tag)
    with named("tag"):
        validate_tag(tag)
    locked = lock(collection)
    removed, _rows = CollectionTag.objects.filter(collection=locked, name=tag).delete()
    if removed:
        record(ChangeKind.COLLECTION_TAG_REMOVED, locked, label=tag, actor=actor)
    return bool(removed)


@transaction.atomic
def set_alias(collection: Collection, alias: str, version: ArtifactVersion, *, actor: User | None) -> bool:
    """Put the alias on this version of the collection, wherever it was before (R11).

    One event that carries both ends; False, and no event, when the version has it already. Raises
    `ValidationError` when the version is not in the collection.
    """
    alias = normalized(alias)
    with named("alias"):
        validate_alias(alias)
    locked = lock(collection)
    if not Membership.objects.filter(collection=locked, version=version).exists():
        raise ValidationError({"version": _("This version is not in the collection.")})
    return move_alias(locked, alias, version, actor=actor)


def move_alias(locked: Collection, alias: str, version: ArtifactVersion, *, actor: User | None) -> bool:
    """`set_alias` for a collection that is locked and holds the version."""
    row = Alias.objects.filter(collection=locked, name=alias).select_related("version").first()
    previous = row.version if row else None
    if row is None:
        Alias.objects.create(collection=locked, name=alias, version=version)
    elif row.version_id != version.pk:
        Alias.objects.filter(pk=row.pk).update(version=version)
    else:
        return False
    record(ChangeKind.ALIAS_ADDED, locked, version=version, previous=previous, label=alias, actor=actor)
    return True


@transaction.atomic
def remove_alias(collection: Collection, alias: str, *, actor: User | None) -> bool:
    """Take the alias away; False when nobody has it."""
    alias = normalized(alias)
    with named("alias"):
        validate_alias(alias)
    locked = lock(collection)
    row = Alias.objects.filter(collection=locked, name=alias).select_related("version").first()
    if row is None:
        return False
    row.delete()
    record(ChangeKind.ALIAS_REMOVED, locked, version=row.version, label=row.name, actor=actor)
    return True
