"""What the harness and its victims tell each other, through files in one folder.

The harness puts an order there: die at one of these boundaries. Whichever process comes to one first
takes the order, by renaming it, says so and dies; nobody else does. Victims write down every boundary
that they come to for the first time, so that the harness learns which ones there are.
"""

from __future__ import annotations

import json
import os
import signal
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

FOLDER = "FAULTS_FOLDER"  # the environment variable that names it


class Point(NamedTuple):
    """Just before, or just after, the commits at one boundary: a function that writes."""

    boundary: str
    moment: str

    def __str__(self) -> str:
        return f"{self.moment} {self.boundary}"


BEFORE, AFTER = MOMENTS = ("before", "after")


@dataclass(frozen=True)
class Death:
    """Who died where, by order."""

    role: str
    boundary: str
    moment: str

    @property
    def point(self) -> Point:
        return Point(self.boundary, self.moment)


class Orders:
    """The harness's side."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._number = 0

    def give(self, points: Mapping[Point, int]) -> None:
        """Have a process die when it comes for the n-th time to one of the points."""
        self._number += 1
        order = {"number": self._number, "points": {str(point): nth for point, nth in points.items()}}
        draft = self.folder / "draft"
        draft.write_text(json.dumps(order))
        draft.replace(self.folder / "order")

    def withdraw(self) -> bool:
        """False when somebody has taken the last order."""
        try:
            (self.folder / "order").unlink()
        except FileNotFoundError:
            return False
        return True

    def death(self) -> Death | None:
        """Who died of the last order."""
        path = self.folder / f"death-{self._number}"
        return Death(**json.loads(path.read_text())) if path.exists() else None

    def seen(self) -> dict[str, set[str]]:
        """Every boundary that somebody came to, and the roles of those who did."""
        found: dict[str, set[str]] = defaultdict(set)
        path = self.folder / "seen"
        for line in path.read_text().splitlines() if path.exists() else ():
            role, _tab, boundary = line.partition("\t")
            found[boundary].add(role)
        return dict(found)

    def forget_seen(self) -> None:
        (self.folder / "seen").unlink(missing_ok=True)


@dataclass
class Gate:
    """A victim's side: every commit passes it."""

    folder: Path
    role: str
    _known: set[str] = field(default_factory=set)
    _version: tuple[int, int] = (0, 0)
    _number: int = 0
    _countdown: dict[str, int] = field(default_factory=dict)

    def reach(self, boundary: str, moment: str) -> None:
        """Return, unless an order says to die here."""
        if boundary not in self._known:
            self._note(boundary)
        point = Point(boundary, moment)
        if self._is_due(str(point)) and self._take():
            self._die(Death(self.role, *point))

    def _note(self, boundary: str) -> None:
        self._known.add(boundary)
        file = os.open(self.folder / "seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, f"{self.role}\t{boundary}\n".encode())
        os.close(file)

    def _is_due(self, point: str) -> bool:
        self._read()
        if point not in self._countdown:
            return False
        self._countdown[point] -= 1
        return self._countdown[point] <= 0

    def _read(self) -> None:
        """Look at the order, if it is another than before."""
        try:
            status = (self.folder / "order").stat()
            version = (status.st_ino, status.st_mtime_ns)
            if version != self._version:
                order = json.loads((self.folder / "order").read_text())
                self._version, self._number, self._countdown = version, order["number"], order["points"]
        except FileNotFoundError:
            self._version, self._countdown = (0, 0), {}

    def _take(self) -> bool:
        try:
            (self.folder / "order").rename(self.folder / f"taken-{self._number}")
        except FileNotFoundError:
            return False
        return True

    def _die(self, death: Death) -> None:
        draft = self.folder / f"draft-{os.getpid()}"
        draft.write_text(json.dumps(asdict(death)))
        draft.replace(self.folder / f"death-{self._number}")
        os.kill(os.getpid(), signal.SIGKILL)
