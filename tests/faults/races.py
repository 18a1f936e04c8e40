"""Many clients race alias moves against a receiver that fails a third of the time.

    python -m tests.faults.races [--moves 10000] [--clients 50] [--shape embedded|production]

Each round has a collection of its own. Clients put `production`, and now and then `staging`, on one of its
versions; a rule tells every move to the receiver (`--order`). Beside them somebody follows the feed by
long-poll, and somebody looks at the tables. When nothing waits any more:

- the last delivery that was accepted, of each alias, names the version that the database holds;
- the feed has told every change of the collection once and in order, and replayed up to any number it
  gives what the tables held then.

Progress goes to stderr; the last line is JSON; the exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import astuple, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.faults.following import Follower
from tests.stories.production import house
from tests.stories.receiver import Letter, Receiver, receiving
from tests.stories.rest import Data, Rest, make_hook
from tests.upserver import up_server, wait_for

ALIASES = ("production", "staging")
VERSIONS = 8
ENV = {"TRIPLINE_RETRY_SCHEDULE": "0,0.2,0.5,1,1,2,2,2,5,5,10"}
PAYLOAD = {"alias": "${alias}", "version": "${artifact_version_index}", "sequence": "${sequence}"}
SETTLED_WITHIN = 300.0  # seconds


# --- The server -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One that runs, and its database as seen beside it."""

    rest: Rest
    connect: Callable[[], Any]
    begin: str

    def ask(self, *statements: str) -> list[list[tuple[Any, ...]]]:
        with closing(self.connect()) as database:
            return self.look(database, *statements)

    def look(self, database: Any, *statements: str) -> list[list[tuple[Any, ...]]]:
        """The rows of each statement, all of one moment."""
        database.execute(self.begin)
        found = [list(database.execute(statement).fetchall()) for statement in statements]
        database.execute("ROLLBACK")
        return found

    def count(self, table: str, condition: str) -> int:
        [[(rows,)]] = self.ask(f"SELECT count(*) FROM {table} WHERE {condition}")  # noqa: S608
        return int(rows)

    def aliases(self, database: Any, collection: int) -> tuple[int, dict[str, int]]:
        """The head of the feed, and the collection's aliases at that moment."""
        [[(head,)], rows] = self.look(
            database,
            "SELECT head FROM automations_feed",
            f"SELECT name, version_id FROM registry_alias WHERE collection_id = {collection}",  # noqa: S608
        )
        return int(head), dict(rows)


@contextmanager
def embedded(folder: Path) -> Iterator[Server]:
    with up_server(folder / "data", env=ENV) as server:
        file = folder / "data" / "tripline.sqlite3"
        yield Server(
            Rest(server.url, server.key), lambda: sqlite3.connect(file, isolation_level=None), "BEGIN"
        )


@contextmanager
def production(folder: Path) -> Iterator[Server]:
    import psycopg

    with house(folder, env=ENV) as built:
        url = built.web.env["DATABASE_URL"]
        yield Server(
            built.rest,
            lambda: psycopg.connect(url, autocommit=True),
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
        )


SHAPES = {"embedded": embedded, "production": production}


# --- The receiver ---------------------------------------------------------------------------------


@dataclass
class Moody:
    """Fails a third of the time; keeps what it accepted, in that order."""

    dice: random.Random
    accepted: list[Letter] = field(default_factory=list)
    refused: int = 0
    _deciding: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, letter: Letter) -> int:
        with self._deciding:
            if self.dice.random() < 1 / 3:
                self.refused += 1
                return 500
            self.accepted.append(letter)
            return 200


# --- One round ------------------------------------------------------------------------------------


@dataclass
class Round:
    """A collection, those who race in it, and what came of it."""

    server: Server
    number: int
    order: str
    moody: Moody
    follower: Follower
    collection: int = 0
    versions: list[int] = field(default_factory=list)
    # Seconds that each request took.
    puts: list[float] = field(default_factory=list)
    unanswered: int = 0
    # The aliases in the tables: as of each number at which somebody looked, and the last time.
    held: dict[int, dict[str, int]] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def prepare(self, receiver: Receiver) -> None:
        rest, name = self.server.rest, f"race-{self.number}"
        self.follower.read(wait=0)  # it takes its cursor before there is anything
        project = rest.post("projects/", {"team": "main", "name": name})["id"]
        self.collection = rest.post("collections/", {"project": project, "name": "models"})["id"]
        for number in range(VERSIONS):
            version = rest.post("versions/", {"collection": self.collection, "digest": f"d{number}"})
            self.versions.append(version["id"])
        receiver.manner = self.moody
        hook = make_hook(rest, receiver.url, name=name)
        rule: Data = {"name": name, "scope": {"type": "collection", "id": self.collection}}
        rule["event"] = {"type": "alias_added", "alias": f"^({'|'.join(ALIASES)})$"}
        rule["actions"] = [{"type": "webhook", "integration": hook, "payload": PAYLOAD, "order": self.order}]
        rest.post("automations/", rule)

    def race(self, moves: int, clients: int, *, tell: Callable[[Round], None]) -> None:
        """`moves` requests of so many clients, while the feed is followed and the tables looked at."""
        over = threading.Event()
        beside = [_thread(self.follower.follow, over.is_set), _thread(self._look, over)]
        racers = [_thread(self._put, range(client, moves, clients)) for client in range(clients)]
        while any(racer.is_alive() for racer in racers):
            time.sleep(1)
            tell(self)
        wait_for(self._is_quiet, within=SETTLED_WITHIN, every=0.2)
        over.set()
        for thread in beside:
            thread.join(60)
        self._check_end()
        self._check_feed()

    def _put(self, moves: range) -> None:
        dice = random.Random(f"{self.number}/{moves.start}")
        for _move in moves:
            alias = ALIASES[dice.randrange(5) == 0]
            path = f"collections/{self.collection}/aliases/{alias}/"
            began = time.monotonic()
            try:
                self.server.rest.put(path, {"version": dice.choice(self.versions)})
            except TimeoutError:
                # On a machine that is busy otherwise. Nobody knows whether it moved.
                self.unanswered += 1
            except (OSError, AssertionError) as error:
                self.problems.append(f"PUT: {error!r}")
            self.puts.append(time.monotonic() - began)

    def _look(self, over: threading.Event) -> None:
        """Until it is over, and once more."""
        with closing(self.server.connect()) as database:
            while not over.wait(0.05):
                self._note(database)
            self._note(database)

    def _note(self, database: Any) -> None:
        head, aliases = self.server.aliases(database, self.collection)
        self.held[head] = self.aliases = aliases

    def _is_quiet(self) -> bool:
        return not (
            self.server.count("automations_event", "decided_at IS NULL")
            or self.server.count("automations_delivery", "state IN ('pending', 'held')")
        )

    def _check_end(self) -> None:
        """Of each alias, the last that was accepted is what the database holds."""
        for alias in ALIASES:
            told = [letter.data for letter in self.moody.accepted if letter.data["alias"] == alias]
            held = self.versions.index(self.aliases[alias]) if alias in self.aliases else None
            last = told[-1]["version"] if told else None
            if last != held:
                self.problems.append(
                    f"{alias} is on v{held}, the receiver was last told v{last}: {told[-3:]}"
                )

    def moved(self) -> int:
        """Moves that were told; putting an alias where it is, is none."""
        return sum(told.kind == "alias_added" and told.label in ALIASES for told in self.follower.told)

    def went_back(self) -> int:
        """How often the receiver accepted an older move of an alias after a newer one."""
        orders = [[each.data for each in self.moody.accepted if each.data["alias"] == a] for a in ALIASES]
        return sum(
            later["sequence"] < one["sequence"] for told in orders for one, later in itertools.pairwise(told)
        )

    def _check_feed(self) -> None:
        """It told what the rows say; and replayed up to each number at which somebody looked at the tables,
        it gives what they held."""
        self.problems += self.follower.problems
        [rows] = self.server.ask(
            "SELECT kind, collection_id, sequence, version_id, label FROM registry_artifactchange"  # noqa: S608
            f" WHERE collection_id = {self.collection} ORDER BY sequence"
        )
        told = [astuple(each) for each in self.follower.told]
        if told != [tuple(row) for row in rows]:
            self.problems.append(f"the feed told {len(told)} changes, the database has {len(rows)}")
        for head, aliases in self.held.items():
            if self.follower.after[head].get(self.collection) != aliases:
                self.problems.append(f"at number {head} the tables held {aliases}")


def _thread(work: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


# --- All of it ------------------------------------------------------------------------------------


@dataclass
class Race:
    """What is asked for, and the rounds that were run."""

    shape: str
    order: str
    moves: int
    clients: int
    rounds: list[Round] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def run(self, server: Server, receiver: Receiver, rounds: int) -> None:
        for number in range(rounds):
            one = Round(server, number, self.order, Moody(random.Random(number)), Follower(server.rest))
            self.rounds.append(one)
            one.prepare(receiver)
            one.race(self.moves // rounds, self.clients, tell=self._tell)
            for problem in one.problems:
                _say(f"round {number}: {problem}\n")

    def _tell(self, one: Round) -> None:
        asked = sum(len(each.puts) for each in self.rounds)
        passed = time.monotonic() - self.began
        _say(
            f"\r{asked} of {self.moves} moves, round {one.number + 1}, {asked / passed:.0f}/s; "
            f"{len(one.moody.accepted)} accepted, {one.moody.refused} refused  "
        )

    def report(self) -> dict[str, Any]:
        """What is printed; `wrong` counts what must not be."""
        lags = [lag for one in self.rounds for lag in one.follower.lags]
        puts = [put for one in self.rounds for put in one.puts]
        seconds = time.monotonic() - self.began
        [[(superseded,)]] = self.rounds[0].server.ask(
            "SELECT count(*) FROM automations_delivery WHERE state = 'superseded'"
        )
        return {
            "race": self.shape,
            "order": self.order,
            "clients": self.clients,
            "rounds": len(self.rounds),
            "asked": len(puts),
            "unanswered": sum(one.unanswered for one in self.rounds),
            "put_ms": round(median(puts) * 1000),
            "moved": sum(one.moved() for one in self.rounds),
            "seconds": round(seconds, 1),
            "accepted": sum(len(one.moody.accepted) for one in self.rounds),
            "refused": sum(one.moody.refused for one in self.rounds),
            "superseded": superseded,
            "went_back": sum(one.went_back() for one in self.rounds),
            "prefixes_with_tables": sum(len(one.held) for one in self.rounds),
            "follower_lag_ms": round(median(lags) * 1000),
            "follower_turned_away": sum(one.follower.turned_away for one in self.rounds),
            "wrong": sum(len(one.problems) for one in self.rounds),
        }


def race(*, shape: str, order: str, moves: int, clients: int, rounds: int) -> dict[str, Any]:
    """Start a server of this shape on an empty directory, race on it, and report."""
    found = Race(shape, order, moves, clients)
    with (
        tempfile.TemporaryDirectory() as folder,
        receiving() as receiver,
        SHAPES[shape](Path(folder)) as server,
    ):
        found.run(server, receiver, rounds)
        return found.report()


def main() -> None:
    arguments = _parser().parse_args()
    # For tests a server repeats at its end what it said; here figures are printed.
    with redirect_stdout(io.StringIO()):
        report = race(**vars(arguments))
    _say("\n")
    print(json.dumps(report))
    sys.exit(1 if report["wrong"] else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--moves",
        type=int,
        default=10_000,
        help="requests in all, of which every eighth moves nothing (%(default)s)",
    )
    parser.add_argument("--clients", type=int, default=50, help="at once (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="each ends and is checked (%(default)s)")
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument(
        "--order",
        choices=["latest_only", "ordered", "any"],
        default="latest_only",
        help="of the deliveries; `any` promises nothing about the end (%(default)s)",
    )
    return parser


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
