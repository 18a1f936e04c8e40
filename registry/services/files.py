"""Files of versions: streamed to Django's storage, hashed on the way."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db import transaction
from django.utils.translation import gettext as _

from registry.models import ArtifactFile, ArtifactVersion, VersionState
from runs.errors import Conflict, named
from runs.names import validate_text

_CHUNK = 1 << 20
_PATH_LENGTH = ArtifactFile._meta.get_field("path").max_length or 0


class _Hashed(File):
    """A stream that is hashed and counted while the storage reads it."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, name=uuid.uuid4().hex)
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.read_bytes = 0

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        while data := self._stream.read(chunk_size or _CHUNK):
            self._sha256.update(data)
            self.read_bytes += len(data)
            yield data

    @property
    def digest(self) -> str:
        return self._sha256.hexdigest()


def validate_file_path(path: str) -> None:
    """A relative path with `/` between its parts; no empty, `.` or `..` part."""
    with named("path"):
        validate_text(path)
    parts = path.split("/")
    if not path or len(path) > _PATH_LENGTH or any(part in {"", ".", ".."} for part in parts) or "\\" in path:
        raise ValidationError({"path": _("A file's path looks like weights/model.bin.")})


def put_file(version: ArtifactVersion, path: str, stream: BinaryIO) -> ArtifactFile:
    """Store one file of a pending version; the same path again replaces it.

    Raises `Conflict` when the version is committed: its content does not change any more.
    """
    validate_file_path(path)
    _require_pending(version)
    upload = _Hashed(stream)
    content = ArtifactFile(version=version, path=path).content
    stored = content.field.generate_filename(content.instance, str(upload.name))
    try:
        # The name is random and free, so this is where the bytes lie, all of them or a part.
        content.storage.save(stored, upload)
        return _replace(version, path, upload, stored=stored)
    except BaseException:
        content.storage.delete(stored)
        raise


@transaction.atomic
def _replace(version: ArtifactVersion, path: str, upload: _Hashed, *, stored: str) -> ArtifactFile:
    _require_pending(ArtifactVersion.objects.select_for_update(no_key=True).filter(pk=version.pk).first())
    old = ArtifactFile.objects.filter(version=version, path=path).first()
    if old is not None:
        old.delete()
        transaction.on_commit(lambda: old.content.delete(save=False))
    return ArtifactFile.objects.create(
        version=version, path=path, size=upload.read_bytes, digest=upload.digest, content=stored
    )


def _require_pending(version: ArtifactVersion | None) -> None:
    """A draft that is gone was folded into a committed version with the same content."""
    if version is None or version.state != VersionState.PENDING:
        raise Conflict({"state": _("This version is committed; its files do not change any more.")})
