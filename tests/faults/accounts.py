"""The account of a run: what had to come, against what the receiver and the database have. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeAlias

# What an event is about, as its webhook says: the rule's name, and the run and step or the alias.
Subject: TypeAlias = tuple[str, str]
Order: TypeAlias = Literal["any", "ordered", "latest_only"]


@dataclass(frozen=True)
class Receipt:
    """A webhook that the receiver read to its end, and whether it answered that all is well."""

    subject: Subject
    webhook_id: str
    body: bytes
    accepted: bool


@dataclass(frozen=True)
class Kept:
    """A delivery in the database."""

    subject: Subject
    execution: int
    webhook_id: str
    state: str


@dataclass(frozen=True)
class Silent:
    """Executions of one run by the rule that sends nothing: how many, and of how many different steps."""

    executions: int
    steps: int


@dataclass
class Census:
    """What the database holds in the end."""

    deliveries: list[Kept] = field(default_factory=list)
    silent: dict[str, Silent] = field(default_factory=dict)
    # Of executions that fired: those whose deliveries are not one for each action.
    odd_executions: int = 0


@dataclass
class Balance:
    """What is wrong, by kind, and how often the receiver was told something again."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    second_ids: list[str] = field(default_factory=list)
    second_bodies: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    duplicates: int = 0

    @property
    def faults(self) -> dict[str, list[str]]:
        return {
            "lost": self.lost,
            "decided twice": self.twice,
            "second ids": self.second_ids,
            "second bodies": self.second_bodies,
            "invented": self.invented,
            "disorder": self.disorder,
        }

    @property
    def is_clean(self) -> bool:
        return not any(self.faults.values())


@dataclass(frozen=True)
class Asked:
    """What was accepted, and what must come of it.

    `silent` has the number of values, of steps from 0, that were logged to each run for the rule that
    sends nothing; `orders` the order in which a rule's webhooks about one thing have to go out.
    """

    webhooks: Set[Subject]
    silent: Mapping[str, int] = field(default_factory=dict)
    orders: Mapping[str, Order] = field(default_factory=dict)

    def in_order(self, order: Order) -> list[list[Subject]]:
        """By rule and thing, the subjects that have that order, from the first to the last."""
        found: dict[tuple[str, str], list[Subject]] = defaultdict(list)
        for subject in self.webhooks:
            if self.orders.get(subject[0]) == order:
                found[subject[0], _thing(subject)].append(subject)
        return [sorted(each, key=_number) for each in found.values()]


def settle(asked: Asked, *, receipts: Sequence[Receipt], census: Census) -> Balance:
    """Hold against each other what was accepted and what came of it. `receipts` are as they arrived."""
    balance = Balance()
    _check_decisions(balance, asked.webhooks, census)
    _check_receipts(balance, asked, receipts, census)
    _check_order(balance, asked, receipts)
    _check_silent(balance, asked.silent, census)
    balance.lost.sort()
    return balance


def _check_decisions(balance: Balance, expected: Set[Subject], census: Census) -> None:
    executions: dict[Subject, set[int]] = defaultdict(set)
    for row in census.deliveries:
        executions[row.subject].add(row.execution)
    balance.lost += [f"{_name(subject)}: no execution" for subject in expected - executions.keys()]
    balance.invented += [f"{_name(subject)}: decided" for subject in executions.keys() - expected]
    deliveries = Counter(row.subject for row in census.deliveries)
    for subject, count in deliveries.items():
        if count > 1:
            found = f"{len(executions[subject])} executions, {count} deliveries"
            balance.twice.append(f"{_name(subject)}: {found}")
    if census.odd_executions:
        balance.twice.append(f"{census.odd_executions} executions do not have one delivery for their action")


def _check_receipts(balance: Balance, asked: Asked, receipts: Sequence[Receipt], census: Census) -> None:
    expected = asked.webhooks
    accepted = {receipt.subject for receipt in receipts if receipt.accepted}
    accepted |= _overtaken(asked, census)
    states = {row.subject: row.state for row in census.deliveries}
    for subject in (expected & states.keys()) - accepted:
        balance.lost.append(f"{_name(subject)}: never accepted by the receiver ({states[subject]})")
    _check_identity(balance, receipts, census)
    received = {receipt.subject for receipt in receipts}
    balance.invented += [f"{_name(subject)}: received" for subject in received - expected]


def _overtaken(asked: Asked, census: Census) -> set[Subject]:
    """What need not arrive: of the latest only, all but the last."""
    superseded = {row.subject for row in census.deliveries if row.state == "superseded"}
    return superseded & {subject for each in asked.in_order("latest_only") for subject in each[:-1]}


def _check_identity(balance: Balance, receipts: Sequence[Receipt], census: Census) -> None:
    ids: dict[Subject, set[str]] = defaultdict(set)
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for receipt in receipts:
        ids[receipt.subject].add(receipt.webhook_id)
        bodies[receipt.webhook_id].add(receipt.body)
    for row in census.deliveries:
        ids[row.subject].add(row.webhook_id)
    for subject, found in ids.items():
        if len(found) > 1:
            balance.second_ids.append(f"{_name(subject)}: {', '.join(sorted(found))}")
    balance.second_bodies += [webhook_id for webhook_id, each in bodies.items() if len(each) > 1]
    balance.duplicates = len(receipts) - len(bodies)


def _check_order(balance: Balance, asked: Asked, receipts: Sequence[Receipt]) -> None:
    first, accepted, last = {}, {}, {}
    for moment, receipt in enumerate(receipts):
        first.setdefault(receipt.subject, moment)
        if receipt.accepted:
            accepted.setdefault(receipt.subject, moment)
            last[receipt.subject] = moment
    for subjects in asked.in_order("ordered"):
        for before, after in pairwise(subjects):
            if after in first and first[after] < accepted.get(before, len(receipts)):
                balance.disorder.append(f"{_name(after)}: before {before[1]} was accepted")
    for subjects in asked.in_order("latest_only"):
        arrived = [subject for subject in subjects if subject in last]
        if arrived and max(arrived, key=last.__getitem__) != subjects[-1] and subjects[-1] in last:
            balance.disorder.append(f"{_name(subjects[-1])}: not the last that arrived")


def _check_silent(balance: Balance, silent: Mapping[str, int], census: Census) -> None:
    for run, values in silent.items():
        found = census.silent.get(run, Silent(0, 0))
        if found.steps < values:
            balance.lost.append(f"noop {run}: {values - found.steps} of {values} values")
        if found.steps > values:
            balance.invented.append(f"noop {run}: {found.steps - values} steps that were never logged")
        if found.executions > found.steps:
            balance.twice.append(f"noop {run}: {found.executions - found.steps} executions too many")
    balance.invented += [f"noop {run}: never logged to" for run in census.silent.keys() - silent.keys()]


def _name(subject: Subject) -> str:
    return " ".join(subject)


def _thing(subject: Subject) -> str:
    return subject[1].partition(" ")[0]


def _number(subject: Subject) -> int:
    """Its place among others about the same thing: a step, or the number of a version."""
    return int(subject[1].rpartition(" ")[2].removeprefix("v"))
