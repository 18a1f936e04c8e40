from __future__ import annotations

import hashlib
from io import BytesIO

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoCaptureOnCommitCallbacks

from registry.models import ArtifactVersion, Collection, VersionState
from registry.services.files import put_file
from registry.services.versions import commit_version, create_version, tag_version, untag_version
from runs.errors import Conflict
from tests import cast
from tests.cast import Cast, at_once, new_run
from tests.registry.history import aliases, changes, number, sequences


@pytest.fixture
def fish(penguins: Cast) -> Collection:
    return cast.collection(penguins.project)


def draft(collection: Collection, *, digest: str = "") -> ArtifactVersion:
    version, created = create_version(collection, actor=None, digest=digest, state=VersionState.PENDING)
    assert created
    return version


@pytest.mark.django_db
class TestNumbers:
    def test_versions_count_from_v0_and_latest_moves_along(self, fish: Collection, penguins: Cast) -> None:
        run = new_run(penguins.project)
        for digest in ("a", "b", "c"):
            version, created = create_version(
                fish, actor=penguins.ada, run=run, digest=digest, metadata={"lr": 0.1}
            )
            assert created
        assert number(fish, version) == 2
        assert aliases(fish) == {"latest": 2}
        assert (version.run, version.created_by, version.metadata) == (run, penguins.ada, {"lr": 0.1})
        assert changes(fish) == [
            "collection_created",
            "version_added v0",
            "alias_added v0 latest",
            "version_added v1",
            "alias_added v1 latest from v0",
            "version_added v2",
            "alias_added v2 latest from v1",
        ]

    def test_the_same_digest_again_is_the_same_version_and_no_event(self, fish: Collection) -> None:
        first, _created = create_version(fish, actor=None, digest="a")
        before = changes(fish)
        again, created = create_version(fish, actor=None, digest="a")
        assert (again, created) == (first, False)
        assert changes(fish) == before

    def test_the_same_digest_again_still_brings_its_labels(self, fish: Collection) -> None:
        first, _created = create_version(fish, actor=None, digest="a")
        create_version(fish, actor=None, digest="b")
        create_version(fish, actor=None, digest="a", aliases=["best", "latest"], tags=["good"])
        assert aliases(fish) == {"latest": number(fish, first), "best": number(fish, first)}
        assert changes(fish)[-3:] == [
            "alias_added v0 best",
            "alias_added v0 latest from v1",
            "tag_added v0 good",
        ]

    def test_without_a_digest_each_version_is_its_own(self, fish: Collection) -> None:
        first, _created = create_version(fish, actor=None)
        second, created = create_version(fish, actor=None)
        assert created
        assert first != second

    def test_the_same_digest_in_another_collection_is_another_version(
        self, fish: Collection, penguins: Cast
    ) -> None:
        other = cast.collection(penguins.project, "krill")
        first, _created = create_version(fish, actor=None, digest="a")
        second, created = create_version(other, actor=None, digest="a")
        assert created
        assert first != second
        assert number(other, second) == 0

    def test_an_alias_filter_sees_the_aliases_that_came_with_the_version(self, fish: Collection) -> None:
        create_version(fish, actor=None, aliases=["best", "best"])
        added = fish.changes.get(kind="version_added")
        assert sorted(added.aliases) == ["best", "latest"]

    def test_versions_are_not_made_in_a_registry(self, penguins: Cast) -> None:
        models = cast.collection(cast.registry())
        with pytest.raises(ValidationError) as refusal:
            create_version(models, actor=None)
        assert set(refusal.value.message_dict) == {"collection"}

    @pytest.mark.parametrize(
        ("field", "labels"),
        [
            ("aliases", ["v7"]),
            ("aliases", ["a/b"]),
            ("aliases", ["a:b"]),
            ("aliases", ["x" * 129]),
            ("aliases", ["nul\x00"]),
            ("tags", ["a,b"]),
            ("tags", [" a"]),
            ("tags", ["x" * 129]),
            ("tags", ["lone\ud800"]),
        ],
    )
    def test_a_bad_label_is_refused_by_field_and_leaves_no_version(
        self, fish: Collection, field: str, labels: list[str]
    ) -> None:
        with pytest.raises(ValidationError) as refusal:
            create_version(fish, actor=None, **{field: labels})  # type: ignore[arg-type]
        assert set(refusal.value.message_dict) == {field}
        assert not ArtifactVersion.objects.exists()

    @pytest.mark.parametrize("metadata", [{"a": "nul\x00"}, {"a": ["lone\ud800"]}, {"a": float("inf")}])
    def test_metadata_that_cannot_be_stored_is_refused_by_field(
        self, fish: Collection, metadata: dict[str, object]
    ) -> None:
        with pytest.raises(ValidationError) as refusal:
            create_version(fish, actor=None, metadata=metadata)
        assert set(refusal.value.message_dict) == {"metadata"}
        assert not ArtifactVersion.objects.exists()


@pytest.mark.django_db
class TestDrafts:
    def test_a_draft_has_no_number_and_is_no_event_until_it_is_committed(self, fish: Collection) -> None:
        version, _created = create_version(
            fish, actor=None, aliases=["best"], tags=["good"], state=VersionState.PENDING
        )
        assert changes(fish) == ["collection_created"]
        assert not version.memberships.exists()

        committed = commit_version(version, actor=None)
        assert (committed.state, number(fish, committed)) == (VersionState.COMMITTED, 0)
        assert aliases(fish) == {"latest": 0, "best": 0}
        assert changes(fish)[1:] == [
            "version_added v0",
            "alias_added v0 latest",
            "alias_added v0 best",
            "tag_added v0 good",
        ]

    def test_committing_again_changes_nothing(self, fish: Collection) -> None:
        version = commit_version(draft(fish), actor=None)
        before = changes(fish)
        assert commit_version(version, actor=None) == version
        assert changes(fish) == before

    def test_a_draft_that_waits_is_found_again_by_its_digest(self, fish: Collection) -> None:
        waiting = draft(fish, digest="a")
        assert create_version(fish, actor=None, digest="a", state=VersionState.PENDING) == (waiting, False)

    def test_the_digest_of_a_draft_is_that_of_its_files(self, fish: Collection, files: object) -> None:
        version = draft(fish)
        put_file(version, "b.bin", BytesIO(b"two"))
        put_file(version, "a.bin", BytesIO(b"one"))
        committed = commit_version(version, actor=None)
        text = "".join(
            f"{path}\0{hashlib.sha256(content).hexdigest()}\n"
            for path, content in [("a.bin", b"one"), ("b.bin", b"two")]
        )
        assert committed.digest == hashlib.sha256(text.encode()).hexdigest()
        assert committed.size == 6

    def test_a_draft_of_known_content_goes_away_and_leaves_its_labels(
        self,
        fish: Collection,
        files: object,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        first = draft(fish)
        put_file(first, "model.bin", BytesIO(b"weights"))
        known = commit_version(first, actor=None)

        second, _created = create_version(fish, actor=None, aliases=["again"], state=VersionState.PENDING)
        left_over = put_file(second, "model.bin", BytesIO(b"weights")).content
        with django_capture_on_commit_callbacks(execute=True):
            assert commit_version(second, actor=None) == known

        assert not ArtifactVersion.objects.filter(pk=second.pk).exists()
        assert aliases(fish) == {"latest": 0, "again": 0}
        assert not left_over.storage.exists(str(left_over.name))
        kept = known.files.get().content
        assert kept.storage.exists(str(kept.name))

    def test_content_that_another_draft_is_bringing_is_a_conflict(
        self, fish: Collection, files: object
    ) -> None:
        """The other client computed the digest itself and named it before its upload."""
        digest = hashlib.sha256(f"model.bin\0{hashlib.sha256(b'weights').hexdigest()}\n".encode()).hexdigest()
        draft(fish, digest=digest)
        second = draft(fish)
        put_file(second, "model.bin", BytesIO(b"weights"))
        with pytest.raises(Conflict) as refusal:
            commit_version(second, actor=None)
        assert set(refusal.value.message_dict) == {"digest"}
        assert not second.memberships.exists()
        assert changes(fish) == ["collection_created"]


@pytest.mark.django_db
def test_tags_come_once_and_leave_once(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    version, _created = create_version(fish, actor=None)
    answers = [
        tag_version(version, "europe-west", actor=None),
        tag_version(version, "europe-west", actor=None),
        untag_version(version, "europe-west", actor=None),
        untag_version(version, "europe-west", actor=None),
    ]
    assert answers == [True, False, True, False]
    assert changes(fish)[-2:] == ["tag_added v0 europe-west", "tag_removed v0 europe-west"]


@pytest.mark.django_db(transaction=True)
def test_many_who_bring_versions_at_once_get_one_number_each(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    at_once(6, lambda who: [create_version(fish, actor=None, digest=f"{who}.{turn}") for turn in range(3)])
    assert sorted(fish.memberships.values_list("index", flat=True)) == list(range(18))
    assert aliases(fish) == {"latest": 17}
    assert sequences(fish) == list(range(1, 38))
    moves = [change for change in changes(fish) if "latest" in change]
    assert moves == ["alias_added v0 latest"] + [
        f"alias_added v{index} latest from v{index - 1}" for index in range(1, 18)
    ]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_bring_the_same_content_at_once_one_makes_the_version(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    answers = at_once(6, lambda _who: create_version(fish, actor=None, digest="same"))
    assert sum(created for _version, created in answers) == 1
    assert len({version.pk for version, _created in answers}) == 1
    assert changes(fish) == ["collection_created", "version_added v0", "alias_added v0 latest"]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_commit_a_draft_at_once_one_does(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    version = draft(fish)
    at_once(6, lambda _who: commit_version(ArtifactVersion.objects.get(pk=version.pk), actor=None))
    assert changes(fish) == ["collection_created", "version_added v0", "alias_added v0 latest"]
