"""From the bytes of one metrics call to columns per metric, validated in one pass."""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from runs.names import NAME_LENGTH, validate_metric_name

INT64_MAX = 2**63 - 1
# Different metrics in one call; a statement that names them all must stay within SQLite's bounds.
MAX_METRICS = 10_000
# Points that are turned into columns at once.
_PIECE = 2_000
# Bytes from which on no more than these are decoded at once.
LARGE = 1024 * 1024

Step = Annotated[int, msgspec.Meta(ge=-(2**63), le=INT64_MAX)]
Value = float | Literal["NaN", "Infinity", "-Infinity"] | dict[str, Any] | None


# Nothing refers back to a point: the garbage collector need not look at each of a hundred thousand.
class Point(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    values: dict[str, Value]
    step: Step | None = None
    timestamp: float | None = None


class Call(msgspec.Struct, forbid_unknown_fields=True):
    points: list[Point]
    source: Literal["history", "system"] = "history"

    def pieces(self) -> Iterator[list[Point]]:
        """The points, some thousands at a time."""
        for start in range(0, len(self.points), _PIECE):
            yield self.points[start : start + _PIECE]


class LargeCall(msgspec.Struct, forbid_unknown_fields=True):
    """A call of which never more than a piece is decoded: decoded, a point is many times its bytes."""

    points: list[msgspec.Raw]
    source: Literal["history", "system"] = "history"

    def pieces(self) -> Iterator[list[Point]]:
        """The points, some thousands at a time. Raises `ValidationError` that names the field."""
        for start in range(0, len(self.points), _PIECE):
            piece = b",".join(self.points[start : start + _PIECE])
            with _explained(first=start):
                points = _piece_decoder.decode(b"[%s]" % piece)
            yield points


AnyCall: TypeAlias = Call | LargeCall


@dataclass(slots=True)
class Column:
    """The values of one metric, in the order in which they were logged; three arrays of one length.

    Columns of one call may share the first two, so nobody changes them.
    """

    steps: array[int] = field(default_factory=lambda: array("q"))
    timestamps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))


_decoder = msgspec.json.Decoder(Call)
_large_decoder = msgspec.json.Decoder(LargeCall)
_piece_decoder = msgspec.json.Decoder(list[Point])


def parse(body: bytes) -> AnyCall:
    """Decode a call and validate it; a large one is validated to the end by going through its pieces.

    Raises `ValidationError` that names the field.
    """
    with _explained():
        return (_decoder if len(body) < LARGE else _large_decoder).decode(body)


@contextmanager
def _explained(first: int | None = None) -> Iterator[None]:
    """What msgspec refuses, in the contract's form. `first`: the number of the first point in a piece."""
    try:
        yield
    except msgspec.ValidationError as error:
        raise ValidationError(_by_field(str(error), first)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValidationError({"points": _("This is no valid JSON: %(why)s.") % {"why": error}}) from None
    except RecursionError:
        raise ValidationError({"points": _("The JSON is nested too deeply.")}) from None


def _by_field(message: str, first: int | None) -> dict[str, str]:
    """msgspec says `… - at `$.points[0].step``; the contract wants the field's name as the key."""
    problem, _at, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    if first is not None and (place := _IN_PIECE.fullmatch(path)):
        path = f"points[{first + int(place[1])}]{place[2]}"
    top = path.partition("[")[0].partition(".")[0]
    if top not in {"points", "source"}:
        return {"points": problem}
    return {top: f"{problem} ({path})" if path != top else problem}


_IN_PIECE = re.compile(r"\[([0-9]+)\](.*)", re.DOTALL)


def needs_last_step(call: AnyCall) -> bool:
    first = next(call.pieces(), [])
    return bool(first) and first[0].step is None


def columns(call: AnyCall, *, last_step: int, now: float | None = None) -> dict[str, Column]:
    """The call's values by metric name. A point without a step has the step after the one before it.

    `last_step` is the run's last step so far (-1 for a run that logged nothing); times are in seconds.
    """
    accepted = time.time() if now is None else now
    found = _of_equal_points(call.pieces(), last_step=last_step, accepted=accepted)
    if found is None:
        found = _of_any_points(call.pieces(), last_step=last_step, accepted=accepted)
    return found


def _of_equal_points(
    pieces: Iterable[list[Point]], *, last_step: int, accepted: float
) -> dict[str, Column] | None:
    """The columns of points that hold the same plain metrics in the same order, as most calls do.

    None where they do not, and for whatever must be refused: the other way is slower and finds the words.
    """
    steps, times = array("q", [last_step]), array("d")
    found: dict[str, array[float]] = {}
    try:
        for points in pieces:
            found = found or _empty(points[0])
            names = list(found)
            if not names or any(list(point.values) != names for point in points):
                return None
            steps.extend(_steps(points, steps[-1]))
            times.extend([accepted if point.timestamp is None else point.timestamp for point in points])
            _add_values(found, points)
    except (ValidationError, TypeError):  # TypeError: something that is no number
        return None
    del steps[0]
    return {name: Column(steps, times, values) for name, values in found.items()} or None


def _empty(point: Point) -> dict[str, array[float]]:
    """A column for each metric of a point, none where there are too many."""
    if len(point.values) > MAX_METRICS:
        return {}
    for name in point.values:
        _check_name(name)
    return {name: array("d") for name in point.values}


def _steps(points: list[Point], last_step: int) -> array[int]:
    found = array("q")
    step = last_step
    for point in points:
        step = _next(step) if point.step is None else point.step
        found.append(step)
    return found


def _add_values(found: dict[str, array[float]], points: list[Point]) -> None:
    """Raises `TypeError` where one is no number."""
    rows = [point.values.values() for point in points]
    for column, values in zip(found.values(), zip(*rows, strict=True), strict=True):
        column.extend(array("d", cast("tuple[float, ...]", values)))


def _of_any_points(pieces: Iterable[list[Point]], *, last_step: int, accepted: float) -> dict[str, Column]:
    found: dict[str, Column] = {}
    step = last_step
    for point in chain.from_iterable(pieces):
        step = _next(step) if point.step is None else point.step
        timestamp = accepted if point.timestamp is None else point.timestamp
        for name, value in _flat(point.values):
            column = found.get(name)
            if column is None:
                _check_name(name)
                _check_room(found)
                column = found[name] = Column()
            column.steps.append(step)
            column.timestamps.append(timestamp)
            column.values.append(value)
    return found


def _next(step: int) -> int:
    if step >= INT64_MAX:
        raise ValidationError({"points": _("There is no step after %(step)d.") % {"step": step}})
    return step + 1


def _check_name(name: str) -> None:
    try:
        validate_metric_name(name)
    except ValidationError as error:
        raise ValidationError(
            {"points": [f"values.{name[:80]!a}: {text}" for text in error.messages]}
        ) from None


def _check_room(found: dict[str, Column]) -> None:
    if len(found) >= MAX_METRICS:
        raise ValidationError(
            {"points": _("A call holds at most %(most)d different metrics.") % {"most": MAX_METRICS}}
        )


def _flat(values: dict[str, Value], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Nested keys joined by dots (R21)."""
    for name, value in values.items():
        if type(value) is float:
            yield prefix + name, value
        elif isinstance(value, dict):
            yield from _flat(_checked(value, prefix + name), f"{prefix}{name}.")
        else:
            yield prefix + name, _number(value, prefix + name)


def _checked(values: dict[str, Any], name: str) -> dict[str, Value]:
    if len(name) > NAME_LENGTH:  # also ends the recursion, well before Python would
        _check_name(name)
    try:
        return msgspec.convert(values, dict[str, Value])
    except msgspec.ValidationError as error:
        raise ValidationError({"points": f"values.{name}: {error}"}) from None


def _number(value: Any, name: str) -> float:
    if value is None:
        raise ValidationError(
            {
                "points": _('values.%(name)s is null; write "NaN" for a value that is no number.')
                % {"name": name[:80]}
            }
        )
    return float(value)


def count(found: Iterable[Column]) -> int:
    return sum(len(column.values) for column in found)
