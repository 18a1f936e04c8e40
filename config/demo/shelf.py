"""Artifacts of the example: what trainings made, and how the registry's aliases and tags moved on."""

from __future__ import annotations

import io
import json
from array import array
from dataclasses import dataclass, field
from random import Random
from typing import Any

from config.demo import rules
from config.demo.cast import Cast, Crew
from registry.models import ArtifactVersion, Collection, VersionState
from registry.services import collections, files, uses, versions
from runs.models import Project, Run

# How many numbers a model of the example has.
_WEIGHTS = 4000


@dataclass(slots=True)
class Shelf:
    """What was made so far, and the collections it stands in."""

    cast: Cast
    chance: Random
    made: dict[int, list[ArtifactVersion]] = field(default_factory=dict)
    sources: dict[int, Collection] = field(default_factory=dict)
    linked: dict[int, Collection] = field(default_factory=dict)
    data: dict[int, ArtifactVersion] = field(default_factory=dict)

    def open(self) -> None:
        """Collections in the projects and in the registry, and the data that trainings read."""
        cast = self.cast
        named = ((cast.seabirds, "bird-detector"), (cast.voyagers, "log-summarizer"))
        for crew, name in named:
            project, lead = crew.project, crew.lead
            self.sources[project.pk] = collections.create_collection(project, name, actor=lead)
            self.linked[project.pk] = collections.create_collection(cast.registry, name, actor=lead)
            collections.tag_collection(self.linked[project.pk], f"team-{crew.team.name}", actor=lead)
            rules.watch_collection(cast, self.linked[project.pk])
            self.made[project.pk] = []
        self._data_set(cast.seabirds, "seabird-photos", "Pictures of 24 kinds of seabirds", sizes=(9, 14, 21))
        self._data_set(cast.voyagers, "voyage-logs", "Log books of 1,100 voyages", sizes=(6, 11))

    def _data_set(self, crew: Crew, name: str, about: str, *, sizes: tuple[int, ...]) -> None:
        actor, kind = crew.people[1], "dataset"
        source = collections.create_collection(crew.project, name, actor=actor, type=kind, description=about)
        linked = collections.create_collection(self.cast.registry, name, actor=actor, type=kind)
        for size in sizes:
            lines = [f"{name}-{self.chance.randrange(10**6):06}.jpg" for _line in range(size * 20)]
            contents = {"listing.txt": "\n".join(lines).encode(), "about.json": _json({"rows": size * 1000})}
            version = self._version(source, crew, contents, metadata={"rows": size * 1000})
            versions.link_version(linked, version, actor=actor)
        versions.tag_version(version, "checked", actor=actor)
        self.data[crew.project.pk] = version

    def read(self, run: Run) -> None:
        """Every training reads its project's data."""
        uses.use_version(run, self.data[run.project_id])

    def keep(self, crew: Crew, run: Run, metrics: dict[str, float]) -> None:
        """The model that a run made, in its project; a good one becomes a candidate in the registry."""
        score = _score(metrics)
        weights = array("f", [self.chance.gauss(0.0, 0.1) for _weight in range(_WEIGHTS)])
        contents = {
            "model/weights.bin": weights.tobytes(),
            "model/config.json": _json(run.config),
            "metrics.json": _json(metrics),
            "README.md": f"# {run.name}\n\nMade by run {run.run_id} of {run.project}.\n".encode(),
        }
        source, made = self.sources[run.project_id], self.made[run.project_id]
        version = self._version(source, crew, contents, run=run, metadata=metrics)
        if all(score >= other.metadata["score"] for other in made):
            collections.set_alias(source, "best", version, actor=run.user)
            versions.link_version(self.linked[run.project_id], version, aliases=["staging"], actor=run.user)
        made.append(version)

    def _version(
        self,
        source: Collection,
        crew: Crew,
        contents: dict[str, bytes],
        *,
        metadata: dict[str, Any],
        run: Run | None = None,
    ) -> ArtifactVersion:
        actor = run.user if run else crew.people[1]
        told = {**metadata, "score": _score(metadata)} if run else metadata
        draft, _created = versions.create_version(
            source, actor=actor, run=run, metadata=told, state=VersionState.PENDING
        )
        for path, content in contents.items():
            files.put_file(draft, path, io.BytesIO(content))
        return versions.commit_version(draft, actor=actor)

    # --- What people do with the registry -------------------------------------------------------------

    def approve(self, project: Project, *, actor: Any) -> None:
        version = self._newest(project)
        versions.tag_version(version, "approved", actor=actor)

    def promote(self, project: Project, *, actor: Any) -> None:
        """The newest candidate goes into production, from wherever that was before."""
        linked, version = self.linked[project.pk], self._newest(project)
        collections.set_alias(linked, "production", version, actor=actor)
        collections.remove_alias(linked, "staging", actor=actor)

    def withdraw(self, project: Project, *, actor: Any) -> None:
        """The newest candidate was none."""
        version = self._newest(project)
        versions.untag_version(version, "approved", actor=actor)
        versions.tag_version(version, "rejected", actor=actor)
        versions.unlink_version(self.linked[project.pk], version, actor=actor)

    def deprecate(self, project: Project, *, actor: Any, on: bool) -> None:
        change = collections.tag_collection if on else collections.untag_collection
        change(self.linked[project.pk], "deprecated", actor=actor)

    def _newest(self, project: Project) -> ArtifactVersion:
        newest = self.linked[project.pk].memberships.select_related("version").order_by("-index").first()
        if newest is None:
            raise LookupError(f"nothing of {project} is in the registry yet")
        return newest.version


def _score(metrics: dict[str, float]) -> float:
    """The better, the greater."""
    return metrics.get("val/accuracy", -metrics.get("val/loss", 0.0))


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()
