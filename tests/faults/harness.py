"""One run from the first request to the balance: load, faults, rest, count."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.accounts import Asked, Balance, Receipt, settle
from tests.faults.census import take_census
from tests.faults.killing import Killer, Plan
from tests.faults.load import ORDERS, SET_SCENE, Ledger, Load, set_scene
from tests.faults.shapes import SHAPES, Shape
from tests.stories.receiver import CLOSE, HANG, Letter, receiving
from tests.upserver import wait_for

# How a receiver answers, in hundredths.
MANNERS = {500: 10, CLOSE: 5, HANG: 1}
# Any one message fails so often at most, so that none runs out of attempts.
FAILURES_EACH = 3
# Everything that waits, in whatever table.
WAITING = """
SELECT (SELECT count(*) FROM runs_lane WHERE cursor < head)
     + (SELECT count(*) FROM automations_event WHERE decided_at IS NULL)
     + (SELECT count(*) FROM automations_delivery WHERE finished_at IS NULL)
"""


@dataclass
class Moody:
    """A receiver's manners: mostly good. Remembers how it answered."""

    chance: random.Random
    answers: dict[int, int] = field(default_factory=dict)  # by the number of the letter
    failures: Counter[str] = field(default_factory=Counter)

    def __call__(self, letter: Letter) -> int:
        self.answers[letter.number] = status = self._mood(letter)
        return status

    def _mood(self, letter: Letter) -> int:
        draw = self.chance.uniform(0, 100)
        for status, share in MANNERS.items():
            draw -= share
            if draw < 0 and self.failures[letter.webhook_id] < FAILURES_EACH:
                self.failures[letter.webhook_id] += 1
                return status
        return 200

    def receipts(self, letters: list[Letter]) -> list[Receipt]:
        return [
            Receipt(
                (letter.data["rule"], letter.data["about"]),
                letter.webhook_id,
                letter.body,
                accepted=self.answers[letter.number] == 200,
            )
            for letter in letters
        ]


@dataclass(frozen=True)
class Order:
    """What is wanted of a run."""

    shape: str
    plan: Plan
    webhook_events: int
    noop_events: int
    seed: int
    # After that no further fault and no further load, whatever is missing.
    seconds: float
    settle_within: float = 240.0
    env: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a run came to."""

    order: Order
    balance: Balance
    killer: Killer
    ledger: Ledger
    letters: int
    answers: Counter[int]
    settled: bool
    loaded_in: float  # seconds until the last change was accepted
    settled_in: float  # seconds until the last was delivered
    gave_up: Counter[str]

    @property
    def is_complete(self) -> bool:
        """Whether all the kills and all the load that were asked for took place."""
        enough = len(self.ledger.accepted) >= self.order.webhook_events
        enough = enough and self.ledger.silent_count >= self.order.noop_events
        return enough and not self.killer.short_of() and self.killer.done >= self.order.plan.kills

    @property
    def is_good(self) -> bool:
        return self.balance.is_clean and self.settled and self.is_complete


Tell = Callable[[Killer, Load], None]


def nobody(_killer: Killer, _load: Load) -> None:
    """Whom progress is told by default."""


def run(order: Order, folder: Path, tell: Tell = nobody) -> Outcome:
    """Start everything, hurt it under load, let it come to rest and count. `tell` hears of progress."""
    moody = Moody(random.Random(order.seed))
    with receiving(moody) as receiver, SHAPES[order.shape](folder, order.env) as shape:
        scene = set_scene(shape.url, shape.key, receiver.url, shape.env)
        place = shape.url.removeprefix("http://")
        load = Load(scene, place, order.webhook_events, order.noop_events, shape.waiting)
        began = time.monotonic()
        killer = Killer(
            shape, order.plan, random.Random(order.seed), load.progress, deadline=began + order.seconds
        )
        _hurt(killer, load, tell)
        loaded_in = time.monotonic() - began
        settled = _come_to_rest(shape, order.settle_within)
        settled_in = time.monotonic() - began
        balance = settle(
            Asked(load.ledger.accepted | SET_SCENE, load.ledger.silent, ORDERS),
            receipts=moody.receipts(receiver.letters),
            census=take_census(shape.env),
        )
    return Outcome(
        order,
        balance,
        killer,
        load.ledger,
        letters=len(receiver.letters),
        answers=Counter(moody.answers.values()),
        settled=settled,
        loaded_in=loaded_in,
        settled_in=settled_in,
        gave_up=shape.gave_up,
    )


def _hurt(killer: Killer, load: Load, tell: Tell) -> None:
    """Load and faults at the same time, until both have done what they should, or the time is over."""
    clients = load.run()
    with ThreadPoolExecutor(1) as pool:
        faults = pool.submit(killer.run)
        while not (faults.done() and all(client.done() for client in clients)):
            tell(killer, load)
            if faults.done():
                load.enough.set()
            if time.monotonic() > killer.deadline or _any_failed([faults, *clients]):
                killer.deadline = 0
                load.stop.set()
            time.sleep(0.2)
    for each in [faults, *clients]:
        each.result()


def _any_failed(futures: Iterable[Future[None]]) -> bool:
    return any(future.done() and future.exception() for future in futures)


def _come_to_rest(shape: Shape, within: float) -> bool:
    """Whether nothing waits any more, in that time."""
    try:
        wait_for(lambda: shape.ask(WAITING) == 0, within=within, every=0.5)
    except TimeoutError:
        return False
    return True
