"""Write verbs for versions: make, fill, commit, link, tag."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from registry.models import (
    Alias,
    ArtifactVersion,
    ChangeKind,
    Collection,
    Membership,
    VersionState,
    VersionTag,
)
from registry.names import LATEST, validate_alias, validate_tag
from registry.services.changes import lock, record
from registry.services.collections import move_alias
from runs import clock
from runs.errors import Conflict, named
from runs.models import Run, User
from runs.names import normalized, validate_json


@transaction.atomic
def create_version(  # noqa: PLR0913  (the fields of the contract)
    collection: Collection,
    *,
    actor: User | None,
    run: Run | None = None,
    digest: str = "",
    metadata: dict[str, Any] | None = None,
    description: str = "",
    aliases: Iterable[str] = (),
    tags: Iterable[str] = (),
    state: VersionState = VersionState.COMMITTED,
) -> tuple[ArtifactVersion, bool]:
    """A new version of a project's collection. Returns (version, created).

    The same digest again is the same version: it gets the aliases and tags, and is returned. Versions
    that wait for files are made with `state` pending and become real by `commit_version`.
    """
    labels = _checked_labels(aliases, tags)
    _require_project(collection)
    locked = lock(collection)
    if digest and (known := ArtifactVersion.objects.filter(home=locked, digest=digest).first()):
        if known.state == VersionState.COMMITTED:
            _apply_labels(locked, known, labels, actor=actor)
        return known, False
    version = ArtifactVersion(
        home=locked,
        run=run,
        digest=digest,
        metadata=metadata or {},
        description=description,
        labels_on_commit=labels,
        created_by=actor,
    )
    with named("metadata"):
        validate_json(version.metadata)
    # An actor may be missing, but no form may leave it out.
    version.full_clean(exclude={"created_by"}, validate_unique=False, validate_constraints=False)
    version.save()
    if state == VersionState.COMMITTED:
        _commit(locked, version, actor=actor)
    return version, True


def _require_project(collection: Collection) -> None:
    if collection.project_id is None:
        problem = _("Versions are made in a project's collection and then linked to a registry.")
        raise ValidationError({"collection": problem})


def _checked_labels(aliases: Iterable[str], tags: Iterable[str]) -> dict[str, list[str]]:
    labels = {"aliases": [normalized(a) for a in aliases], "tags": [normalized(t) for t in tags]}
    for field, validate in (("aliases", validate_alias), ("tags", validate_tag)):
        for label in labels[field]:
            with named(field):
                validate(label)
    return labels


def commit_version(version: ArtifactVersion, *, actor: User | None) -> ArtifactVersion:
    """Make a pending version real: number, `latest`, the labels asked for (R8, R10).

    Committing again changes nothing. A version whose digest nobody gave gets that of its files; when
    the collection holds the same content already, this draft goes away and the existing one is returned.
    """
    with transaction.atomic():
        locked = lock(version.home)
        # Locked, so that no upload which has seen a draft adds a file to what is committed; but not against
        # those who refer to the version, and may have to wait for the feed behind us.
        draft = ArtifactVersion.objects.select_for_update(no_key=True).filter(pk=version.pk).first()
        if draft is None:
            raise Conflict({"state": _("This draft is gone: its content was there already.")})
        version = draft
        if version.state == VersionState.COMMITTED:
            return version
        version.digest = version.digest or _digest_of_files(version)
        same = ArtifactVersion.objects.filter(home=locked, digest=version.digest).exclude(pk=version.pk)
        if version.digest and (known := same.first()):
            return _fold_into(known, version, locked, actor=actor)
        _commit(locked, version, actor=actor)
    return version


def _fold_into(
    known: ArtifactVersion, draft: ArtifactVersion, locked: Collection, *, actor: User | None
) -> ArtifactVersion:
    if known.state == VersionState.PENDING:
        raise Conflict({"digest": _("Another version with the same content is being uploaded.")})
    _apply_labels(locked, known, draft.labels_on_commit, actor=actor)
    for file in draft.files.all():
        transaction.on_commit(partial(file.content.delete, save=False))
    draft.delete()
    return known


def _digest_of_files(version: ArtifactVersion) -> str:
    """SHA-256 over the sorted paths and contents; "" for a version without files."""
    files = list(version.files.order_by("path").values_list("path", "digest"))
    text = "".join(f"{path}\0{digest}\n" for path, digest in files)
    return hashlib.sha256(text.encode()).hexdigest() if files else ""


def _commit(locked: Collection, version: ArtifactVersion, *, actor: User | None) -> None:
    version.state = VersionState.COMMITTED
    version.committed_at = clock.now()
    version.size = sum(version.files.values_list("size", flat=True))
    version.save(update_fields=["state", "committed_at", "size", "digest"])
    _join(locked, version, ChangeKind.VERSION_ADDED, aliases=version.labels_on_commit["aliases"], actor=actor)
    for tag in version.labels_on_commit["tags"]:
        _tag(locked, version, tag, actor=actor)


def _join(
    locked: Collection,
    version: ArtifactVersion,
    kind: ChangeKind,
    *,
    aliases: Iterable[str],
    actor: User | None,
) -> Membership:
    """Give the version the collection's next number; `latest` moves to it by itself (R10).

    The aliases are in place before the change is recorded, because a filter on them is tested against
    the aliases after the link (R4); their own events follow it.
    """
    membership = Membership.objects.create(
        collection=locked,
        version=version,
        index=locked.next_index,
        linked_at=clock.now(),
        linked_by=actor,
    )
    locked.next_index += 1
    Collection.objects.filter(pk=locked.pk).update(next_index=locked.next_index)
    wanted = list(dict.fromkeys([LATEST, *aliases]))
    sitting = Alias.objects.filter(collection=locked, name__in=wanted).select_related("version")
    before = {alias.name: alias.version for alias in sitting}
    for name in wanted:
        Alias.objects.update_or_create(collection=locked, name=name, defaults={"version": version})
    record(kind, locked, version=version, actor=actor)
    for name in wanted:
        kind, previous = ChangeKind.ALIAS_ADDED, before.get(name)
        record(kind, locked, version=version, previous=previous, label=name, actor=actor)
    return membership


def _apply_labels(
    locked: Collection, version: ArtifactVersion, labels: dict[str, list[str]], *, actor: User | None
) -> None:
    for alias in labels["aliases"]:
        move_alias(locked, alias, version, actor=actor)
    for tag in labels["tags"]:
        _tag(locked, version, tag, actor=actor)


@transaction.atomic
def link_version(
    collection: Collection, version: ArtifactVersion, *, aliases: Iterable[str] = (), actor: User | None
) -> tuple[Membership, bool]:
    """Make the version a member of a registry's collection (R4). Returns (membership, created).

    Linking a member again is no event; aliases that are new to it are set all the same.
    """
    labels = _checked_labels(aliases, ())
    if collection.registry_id is None:
        raise ValidationError({"collection": _("Only a registry's collection takes links.")})
    if version.state != VersionState.COMMITTED:
        raise ValidationError({"version": _("This version is not committed yet.")})
    locked = lock(collection)
    known = Membership.objects.filter(collection=locked, version=version).first()
    if known is not None:
        _apply_labels(locked, version, labels, actor=actor)
        return known, False
    kind = ChangeKind.VERSION_LINKED
    return _join(locked, version, kind, aliases=labels["aliases"], actor=actor), True


@transaction.atomic
def unlink_version(collection: Collection, version: ArtifactVersion, *, actor: User | None) -> bool:
    """Take the version and its aliases out of a registry's collection; False when it was not in."""
    if collection.registry_id is None:
        raise ValidationError({"collection": _("A version cannot leave the collection it was made in.")})
    locked = lock(collection)
    membership = Membership.objects.filter(collection=locked, version=version).first()
    if membership is None:
        return False
    # Recorded while it is still there: what is told names its number and the aliases it had (a filter on
    # aliases is tested against them).
    record(ChangeKind.VERSION_UNLINKED, locked, version=version, actor=actor)
    lost = list(Alias.objects.filter(collection=locked, version=version))
    Alias.objects.filter(pk__in=[alias.pk for alias in lost]).delete()
    for alias in lost:
        record(ChangeKind.ALIAS_REMOVED, locked, version=version, label=alias.name, actor=actor)
    membership.delete()
    return True


@transaction.atomic
def tag_version(version: ArtifactVersion, tag: str, *, actor: User | None) -> bool:
    """Add a tag to the version, in every collection that holds it; False when it has it (R14)."""
    tag = normalized(tag)
    with named("tag"):
        validate_tag(tag)
    return _tag(lock(version.home), version, tag, actor=actor)


def _tag(locked: Collection, version: ArtifactVersion, tag: str, *, actor: User | None) -> bool:
    _row, added = VersionTag.objects.get_or_create(version=version, name=tag)
    if added:
        record(ChangeKind.TAG_ADDED, locked, version=version, label=tag, actor=actor)
    return added


@transaction.atomic
def untag_version(version: ArtifactVersion, tag: str, *, actor: User | None) -> bool:
    tag = normalized(tag)
    with named("tag"):
        validate_tag(tag)
    locked = lock(version.home)
    removed, _rows = VersionTag.objects.filter(version=version, name=tag).delete()
    if removed:
        record(ChangeKind.TAG_REMOVED, locked, version=version, label=tag, actor=actor)
    return bool(removed)
