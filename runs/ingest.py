"""From the bytes of one metrics call to columns per metric, validated in one pass."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast

import msgspec
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from runs.names import NAME_LENGTH, validate_metric_name

INT64_MAX = 2**63 - 1
# Different metrics in one call; a statement that names them all must stay within SQLite's bounds.
MAX_METRICS = 10_000
# Points that are turned into columns at once.
_PIECE = 2_000

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


@dataclass(slots=True)
class Column:
    """The values of one metric, in the order in which they were logged; three arrays of one length.

    Columns of one call may share the first two, so nobody changes them.
    """

    steps: array[int] = field(default_factory=lambda: array("q"))
    timestamps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))


_decoder = msgspec.json.Decoder(Call)


def parse(body: bytes) -> Call:
    """Decode and validate a call. Raises `ValidationError` that names the field."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ValidationError(_by_field(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValidationError({"points": _("This is no valid JSON: %(why)s.") % {"why": error}}) from None
    except RecursionError:
        raise ValidationError({"points": _("The JSON is nested too deeply.")}) from None


def _by_field(message: str) -> dict[str, str]:
    """msgspec says `… - at `$.points[0].step``; the contract wants the field's name as the key."""
    problem, _at, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    top = path.partition("[")[0].partition(".")[0]
    if top not in {"points", "source"}:
        return {"points": problem}
    return {top: f"{problem} ({path})" if path != top else problem}


def needs_last_step(call: Call) -> bool:
    return bool(call.points) and call.points[0].step is None


def columns(call: Call, *, last_step: int, now: float | None = None) -> dict[str, Column]:
    """The call's values by metric name. A point without a step has the step after the one before it.

    `last_step` is the run's last step so far (-1 for a run that logged nothing); times are in seconds.
    """
    accepted = time.time() if now is None else now
    found = _of_equal_points(call.points, last_step=last_step, accepted=accepted)
    return _of_any_points(call.points, last_step=last_step, accepted=accepted) if found is None else found


def _of_equal_points(points: list[Point], *, last_step: int, accepted: float) -> dict[str, Column] | None:
    """The columns of points that hold the same plain metrics in the same order, as most calls do.

    None where they do not, and for whatever must be refused: the other way is slower and finds the words.
    """
    names = list(points[0].values) if points else []
    if not 0 < len(names) <= MAX_METRICS or any(list(point.values) != names for point in points):
        return None
    try:
        for name in names:
            _check_name(name)
        steps = _steps(points, last_step)
        values = _transposed(points, len(names))
    except (ValidationError, TypeError):  # TypeError: something that is no number
        return None
    times = array("d", [accepted if point.timestamp is None else point.timestamp for point in points])
    return {name: Column(steps, times, column) for name, column in zip(names, values, strict=True)}


def _steps(points: list[Point], last_step: int) -> array[int]:
    found = array("q")
    step = last_step
    for point in points:
        step = _next(step) if point.step is None else point.step
        found.append(step)
    return found


def _transposed(points: list[Point], width: int) -> list[array[float]]:
    """The values by metric. Raises `TypeError` where one is no number."""
    found = [array("d") for _metric in range(width)]
    for start in range(0, len(points), _PIECE):
        rows = [point.values.values() for point in points[start : start + _PIECE]]
        for column, values in zip(found, zip(*rows, strict=True), strict=True):
            column.extend(array("d", cast("tuple[float, ...]", values)))
    return found


def _of_any_points(points: list[Point], *, last_step: int, accepted: float) -> dict[str, Column]:
    found: dict[str, Column] = {}
    step = last_step
    for point in points:
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
