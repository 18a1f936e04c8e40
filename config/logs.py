"""How a log record is written, with the ids that say what it is about (`logging`'s `extra`)."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

# What every record has by itself.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# The ids that a line of text ends with, in this order, where the record has them.
IDS = (
    "organization",
    "team",
    "project",
    "run",
    "batch",
    "event",
    "automation",
    "execution",
    "delivery",
    "attempt",
    "webhook_id",
    "integration",
    "outlet",
    "inbox",
)


class JsonFormatter(logging.Formatter):
    """One line of JSON per record, for collectors (`TRIPLINE_LOG=json`).

    Everything in `extra` that JSON can carry is in it; what cannot be carried, an object, is left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            **dict(_carried(record)),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for people; ids stand at its end: ` [execution=12 delivery=31]`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        ids = [f"{name}={_in_a_line(vars(record)[name])}" for name in IDS if _is_set(record, name)]
        return super().formatMessage(record) + (f" [{' '.join(ids)}]" if ids else "")


def _is_set(record: logging.LogRecord, name: str) -> bool:
    return isinstance(vars(record).get(name), int | str | UUID)


def _in_a_line(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)


def _carried(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for name, value in vars(record).items():
        if name in _STANDARD:
            continue
        try:
            yield name, _plain(value)
        except (TypeError, RecursionError):
            continue


def _plain(value: Any) -> Any:
    """The value as JSON has it. Raises `TypeError` where JSON has none, `RecursionError` for a circle."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    raise TypeError
