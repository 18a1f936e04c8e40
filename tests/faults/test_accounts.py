"""The harness sees what it is there to see: histories with one fault each, and the fault is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.accounts import Asked, Balance, Census, Kept, Receipt, Silent, Subject, settle

LOW: Subject = ("low", "fit-1 7")
MOVED: Subject = ("moved", "prod v3")
# In order, and of the latest only.
NINTH: Subject = ("ordered", "fit-1 9")
TENTH: Subject = ("ordered", "fit-1 10")
OLD: Subject = ("last", "prod v3")
NEW: Subject = ("last", "prod v10")
ASKED = Asked(
    {LOW, MOVED, NINTH, TENTH, OLD, NEW},
    silent={"quiet-1": 200},
    orders={"low": "any", "ordered": "ordered", "last": "latest_only"},
)


class History:
    """All is well, until a test changes it."""

    def __init__(self) -> None:
        self.receipts = [
            Receipt(LOW, "msg_1", b"low", accepted=False),
            Receipt(LOW, "msg_1", b"low", accepted=True),
            Receipt(MOVED, "msg_2", b"moved", accepted=True),
            Receipt(NINTH, "msg_9", b"9", accepted=False),
            Receipt(NINTH, "msg_9", b"9", accepted=True),
            Receipt(TENTH, "msg_10", b"10", accepted=True),
            Receipt(OLD, "msg_old", b"old", accepted=False),
            Receipt(NEW, "msg_new", b"new", accepted=True),
        ]
        self.census = Census(
            deliveries=[
                Kept(LOW, 1, "msg_1", "succeeded"),
                Kept(MOVED, 2, "msg_2", "succeeded"),
                Kept(NINTH, 9, "msg_9", "succeeded"),
                Kept(TENTH, 10, "msg_10", "succeeded"),
                Kept(OLD, 11, "msg_old", "superseded"),
                Kept(NEW, 12, "msg_new", "succeeded"),
            ],
            silent={"quiet-1": Silent(executions=200, steps=200)},
        )

    def balance(self) -> Balance:
        return settle(ASKED, receipts=self.receipts, census=self.census)


def test_a_history_without_a_fault_is_clean_and_its_repetitions_are_counted() -> None:
    balance = History().balance()
    assert balance.is_clean
    assert balance.duplicates == 2


def _no_execution(history: History) -> None:
    del history.census.deliveries[0], history.receipts[:2]


def _never_received(history: History) -> None:
    history.census.deliveries[0] = replace(history.census.deliveries[0], state="pending")
    del history.receipts[:2]


def _received_and_never_accepted(history: History) -> None:
    del history.receipts[1]


def _noop_too_few(history: History) -> None:
    history.census.silent["quiet-1"] = Silent(executions=199, steps=199)


def _noop_none(history: History) -> None:
    history.census.silent.clear()


def _two_executions(history: History) -> None:
    history.census.deliveries.append(Kept(LOW, 3, "msg_1", "succeeded"))


def _two_deliveries(history: History) -> None:
    history.census.deliveries.append(Kept(LOW, 1, "msg_1", "succeeded"))


def _noop_twice(history: History) -> None:
    history.census.silent["quiet-1"] = Silent(executions=201, steps=200)


def _noop_two_deliveries(history: History) -> None:
    history.census.odd_executions = 1


def _two_ids_at_the_receiver(history: History) -> None:
    history.receipts.append(Receipt(LOW, "msg_3", b"low", accepted=True))


def _another_id_than_the_database_has(history: History) -> None:
    history.receipts[2] = replace(history.receipts[2], webhook_id="msg_3")


def _two_bodies(history: History) -> None:
    history.receipts[0] = replace(history.receipts[0], body=b"lower")


def _received_without_a_cause(history: History) -> None:
    history.receipts.append(Receipt(("low", "fit-1 8"), "msg_3", b"low", accepted=True))


def _decided_without_a_cause(history: History) -> None:
    history.census.deliveries.append(Kept(("low", "fit-1 8"), 3, "msg_3", "pending"))


def _noop_without_a_cause(history: History) -> None:
    history.census.silent["quiet-2"] = Silent(executions=1, steps=1)


def _noop_too_many(history: History) -> None:
    history.census.silent["quiet-1"] = Silent(executions=201, steps=201)


def _next_before_the_former_was_accepted(history: History) -> None:
    history.receipts[4], history.receipts[5] = history.receipts[5], history.receipts[4]


def _older_after_the_latest(history: History) -> None:
    history.receipts.append(Receipt(OLD, "msg_old", b"old", accepted=True))


def _latest_superseded(history: History) -> None:
    del history.receipts[-1]
    history.census.deliveries[-1] = replace(history.census.deliveries[-1], state="superseded")


def _superseded_though_in_no_order(history: History) -> None:
    history.census.deliveries[1] = replace(history.census.deliveries[1], state="superseded")
    del history.receipts[2]


FAULTS: dict[Callable[[History], None], tuple[str, str]] = {
    _no_execution: ("lost", "low fit-1 7: no execution"),
    _never_received: ("lost", "low fit-1 7: never accepted by the receiver (pending)"),
    _received_and_never_accepted: ("lost", "low fit-1 7: never accepted by the receiver (succeeded)"),
    _noop_too_few: ("lost", "noop quiet-1: 1 of 200 values"),
    _noop_none: ("lost", "noop quiet-1: 200 of 200 values"),
    _two_executions: ("decided twice", "low fit-1 7: 2 executions, 2 deliveries"),
    _two_deliveries: ("decided twice", "low fit-1 7: 1 executions, 2 deliveries"),
    _noop_twice: ("decided twice", "noop quiet-1: 1 executions too many"),
    _noop_two_deliveries: ("decided twice", "1 executions do not have one delivery for their action"),
    _two_ids_at_the_receiver: ("second ids", "low fit-1 7: msg_1, msg_3"),
    _another_id_than_the_database_has: ("second ids", "moved prod v3: msg_2, msg_3"),
    _two_bodies: ("second bodies", "msg_1"),
    _received_without_a_cause: ("invented", "low fit-1 8: received"),
    _decided_without_a_cause: ("invented", "low fit-1 8: decided"),
    _noop_without_a_cause: ("invented", "noop quiet-2: never logged to"),
    _next_before_the_former_was_accepted: ("disorder", "ordered fit-1 10: before fit-1 9 was accepted"),
    _older_after_the_latest: ("disorder", "last prod v10: not the last that arrived"),
    _latest_superseded: ("lost", "last prod v10: never accepted by the receiver (superseded)"),
    _superseded_though_in_no_order: ("lost", "moved prod v3: never accepted by the receiver (superseded)"),
    _noop_too_many: ("invented", "noop quiet-1: 1 steps that were never logged"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_every_fault_is_reported_as_what_it_is_and_as_nothing_else(fault: Callable[[History], None]) -> None:
    kind, line = FAULTS[fault]
    history = History()
    fault(history)
    balance = history.balance()
    assert {name: found for name, found in balance.faults.items() if found} == {kind: [line]}
    assert not balance.is_clean
