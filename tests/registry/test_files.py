from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.storage import default_storage
from pytest_django import DjangoCaptureOnCommitCallbacks

from registry.models import ArtifactFile, ArtifactVersion, VersionState
from registry.services.files import put_file
from registry.services.versions import commit_version, create_version
from runs.errors import Conflict
from tests import cast
from tests.cast import Cast, at_once


@pytest.fixture
def draft(penguins: Cast, files: Path) -> ArtifactVersion:
    fish = cast.collection(penguins.project)
    return create_version(fish, actor=None, state=VersionState.PENDING)[0]


def on_disk(files: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in files.rglob("*") if path.is_file())


class Stream(BytesIO):
    """An upload that breaks off, and one that does something halfway."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks

    def read(self, _size: int | None = -1, /) -> bytes:
        return next(self._chunks, b"")


@pytest.mark.django_db
class TestOneUpload:
    def test_a_file_is_stored_hashed_and_counted(self, draft: ArtifactVersion, files: Path) -> None:
        content = bytes(range(256)) * 5000
        file = put_file(draft, "weights/model.bin", BytesIO(content))
        assert (file.size, file.digest) == (len(content), hashlib.sha256(content).hexdigest())
        with file.content.open() as stored:
            assert stored.read() == content
        assert on_disk(files) == [content]

    def test_an_empty_file_is_a_file(self, draft: ArtifactVersion, files: Path) -> None:
        assert put_file(draft, "empty", BytesIO(b"")).size == 0
        assert on_disk(files) == [b""]

    def test_the_clients_path_does_not_choose_where_the_bytes_lie(
        self, draft: ArtifactVersion, files: Path
    ) -> None:
        put_file(draft, "weights/model.bin", BytesIO(b"x"))
        (path,) = (path for path in files.rglob("*") if path.is_file())
        assert "model" not in path.name
        assert (path.stat().st_mode & 0o777) == 0o600

    def test_the_same_path_again_replaces_the_file_and_its_bytes(
        self,
        draft: ArtifactVersion,
        files: Path,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        put_file(draft, "model.bin", BytesIO(b"old"))
        with django_capture_on_commit_callbacks(execute=True):
            put_file(draft, "model.bin", BytesIO(b"new"))
        assert draft.files.count() == 1
        assert on_disk(files) == [b"new"]

    @pytest.mark.parametrize(
        "path", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".", "a\\b", "nul\x00", "x" * 1001]
    )
    def test_a_path_that_leads_elsewhere_is_refused_by_field(
        self, draft: ArtifactVersion, files: Path, path: str
    ) -> None:
        with pytest.raises(ValidationError) as refusal:
            put_file(draft, path, BytesIO(b"x"))
        assert set(refusal.value.message_dict) == {"path"}
        assert on_disk(files) == []

    def test_a_committed_version_takes_no_more_files(self, draft: ArtifactVersion, files: Path) -> None:
        put_file(draft, "model.bin", BytesIO(b"old"))
        commit_version(draft, actor=None)
        stale, fresh = draft, ArtifactVersion.objects.get(pk=draft.pk)
        for version in (stale, fresh):
            with pytest.raises(Conflict):
                put_file(version, "model.bin", BytesIO(b"new"))
        assert on_disk(files) == [b"old"]

    def test_an_upload_that_breaks_off_leaves_nothing(self, draft: ArtifactVersion, files: Path) -> None:
        def breaking_off() -> Iterator[bytes]:
            yield b"half"
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            put_file(draft, "model.bin", Stream(breaking_off()))
        assert not draft.files.exists()
        assert on_disk(files) == []


@pytest.mark.django_db(transaction=True)
def test_a_path_that_many_write_at_once_keeps_one_of_them(draft: ArtifactVersion, files: Path) -> None:
    at_once(6, lambda who: put_file(draft, "model.bin", BytesIO(b"%d" % who)))
    (content,) = on_disk(files)
    with ArtifactFile.objects.get(version=draft).content.open() as stored:
        assert stored.read() == content


@pytest.mark.django_db(transaction=True)
def test_a_version_committed_during_an_upload_does_not_change_any_more(
    draft: ArtifactVersion, files: Path
) -> None:
    put_file(draft, "a.bin", BytesIO(b"a"))
    uploading, committed = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"half"
        uploading.set()
        committed.wait(10)
        yield b"other half"

    def work(who: int) -> Any:
        if who == 0:
            with pytest.raises(Conflict):
                put_file(draft, "b.bin", Stream(slowly()))
        else:
            uploading.wait(10)
            commit_version(ArtifactVersion.objects.get(pk=draft.pk), actor=None)
            committed.set()

    at_once(2, work)
    assert on_disk(files) == [b"a"]
    assert draft.files.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_digest_covers_every_file_however_close_the_last_upload_was(
    draft: ArtifactVersion, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit arrives while the last file is being written into the database."""
    from registry.services import files as module

    inserting, commit_has_begun = threading.Event(), threading.Event()
    require_pending = module._require_pending
    looks = []

    def slow_look(version: ArtifactVersion) -> None:
        require_pending(version)
        looks.append(version)
        if len(looks) == 2:  # the second look is inside the transaction
            inserting.set()
            commit_has_begun.wait(10)
            threading.Event().wait(0.2)

    monkeypatch.setattr(module, "_require_pending", slow_look)

    def work(who: int) -> None:
        if who == 0:
            put_file(draft, "model.bin", BytesIO(b"weights"))
        else:
            inserting.wait(10)
            commit_has_begun.set()
            commit_version(ArtifactVersion.objects.get(pk=draft.pk), actor=None)

    at_once(2, work)
    version = ArtifactVersion.objects.get(pk=draft.pk)
    assert len(looks) == 2
    assert version.state == VersionState.COMMITTED
    assert default_storage.exists(str(version.files.get().content.name))
    assert version.size == len(b"weights")
    assert version.digest != ""
