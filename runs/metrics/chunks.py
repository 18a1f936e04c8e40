"""How the values of a metric lie in a row, and what a reader makes of it.

A row holds one batch, or several that follow each other (`runs.metrics.compaction`): then `seq` and
`received_at` are the first one's, and `parts` says where each begins and when it was accepted.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Literal, TypeAlias, cast

from runs import statements

# The numbers of a lane lie in stretches of so many, and the batches of one row in one of them: whoever looks
# for a batch in a row that begins before it need not look further back.
STRETCH = 1024

Packed: TypeAlias = bytes | memoryview

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Series:
    """Consecutive values of one metric of one run, in acceptance order; arrays of one length.

    `first_index` is the ordinal of the first value in the whole series, `finite_before` the number of
    finite values before it. Timestamps are seconds since 1970.
    """

    steps: Sequence[int]
    timestamps: Sequence[float]
    values: Sequence[float]
    first_index: int = 0
    finite_before: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One batch in a row: its number, its acceptance, and how many values are its own."""

    seq: int
    received_at: datetime
    count: int
    nonfinite: int


def stretch_start(seq: int) -> int:
    """The first number of the stretch that a number lies in."""
    return seq - seq % STRETCH


def pack(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def ints(packed: Packed) -> array[int]:
    numbers = array("q", bytes(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def floats(packed: Packed) -> array[float]:
    numbers = array("d", bytes(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def seen(packed: Packed, code: Literal["q", "d"]) -> Sequence[Any]:
    """The same without a copy."""
    if sys.byteorder == "big":
        return ints(packed) if code == "q" else floats(packed)
    return memoryview(packed).cast(code)


def pack_parts(parts: Sequence[Part]) -> bytes:
    """Four int64 for each batch: all numbers, then all acceptances in microseconds, then both counts."""
    numbers = array("q", [part.seq for part in parts])
    numbers.extend((part.received_at - _EPOCH) // _MICROSECOND for part in parts)
    numbers.extend(part.count for part in parts)
    numbers.extend(part.nonfinite for part in parts)
    return pack(numbers)


def unpack_parts(packed: Packed) -> list[Part]:
    numbers = ints(packed)
    length = len(numbers) // 4
    columns = (numbers[start : start + length] for start in range(0, 4 * length, length))
    return [
        Part(seq, _EPOCH + microseconds * _MICROSECOND, count, nonfinite)
        for seq, microseconds, count, nonfinite in zip(*columns, strict=True)
    ]


# What `batches_of` is given, in this order.
WHOLE = ("seq", "parts", "steps", "timestamps", "values", "first_index", "finite_before")
SELECT_WHOLE = statements.quoted(WHOLE)


def batches_of(seq: int, parts: Packed | None, *columns: Any) -> Iterator[tuple[int, Series]]:
    """The batches in a row, by their numbers, in order."""
    steps, timestamps, values, first_index, finite_before = columns
    # Of most values only they themselves are looked at: the others stay as they are.
    whole = Series(seen(steps, "q"), seen(timestamps, "d"), floats(values), first_index, finite_before)
    if parts is None:
        yield seq, whole
        return
    start = 0
    for part in unpack_parts(parts):
        end = start + part.count
        yield (
            part.seq,
            Series(
                whole.steps[start:end],
                whole.timestamps[start:end],
                whole.values[start:end],
                first_index + start,
                finite_before,
            ),
        )
        start, finite_before = end, finite_before + part.count - part.nonfinite


def joined(rows: Sequence[Sequence[Any]]) -> Series:
    """The one series of rows (`WHOLE`) that follow each other."""
    _seqs, _parts, steps, timestamps, values, first_index, finite_before = zip(*rows, strict=True)
    return Series(
        seen(b"".join(steps), "q"),
        seen(b"".join(timestamps), "d"),
        floats(b"".join(values)),
        first_index[0],
        finite_before[0],
    )


def values_of(
    seq: int, received_at: Any, parts: Packed | None, values: Packed
) -> Iterator[tuple[int, datetime, array[float]]]:
    """The batches in a row, the newest first: number, acceptance, values."""
    whole = floats(values)
    if parts is None:
        yield seq, cast(datetime, statements.moment(received_at)), whole
        return
    found = unpack_parts(parts)
    ends = list(accumulate(part.count for part in found))
    for part, end in zip(reversed(found), reversed(ends), strict=True):
        yield part.seq, part.received_at, whole[end - part.count : end]


def count_finite(values: Sequence[float]) -> int:
    return sum(map(math.isfinite, values))
