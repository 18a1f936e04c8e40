"""The few statements of the hot path, written out.

To put one together takes the ORM ten times as long as it takes the database to run it. What is written here
and at its callers is the same on SQLite and PostgreSQL; everything that is not done for every call of a
client or every batch stays with the ORM.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import Model
from django.db.models.base import ModelState

M = TypeVar("M", bound=Model)


class _Kept(threading.local):
    """A thread's cursor for these statements, and the connection of the driver that it belongs to."""

    cursor: Any = None
    of: Any = None


_kept = _Kept()


def _cursor() -> Any:
    """To make a cursor takes as long as to use it, so one is kept; not where Django records what is asked.

    Whoever is given it takes all that a statement gives before anybody else can ask for one.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.force_debug_cursor:
        return database.cursor()
    database.close_if_health_check_failed()
    if _kept.of is None or _kept.of is not database.connection:
        _kept.cursor, _kept.of = database.cursor(), database.connection
    return _kept.cursor


def rows(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What a SELECT gives."""
    cursor = _cursor()
    cursor.execute(statement, parameters)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def run(statement: str, parameters: Sequence[Any]) -> int:
    """The number of rows that a statement changed."""
    cursor = _cursor()
    cursor.execute(statement, parameters)
    return int(cursor.rowcount)


def insert(statement: str, parameters: Sequence[Any]) -> int:
    """The id of the row that an INSERT made."""
    cursor = _cursor()
    if not connection.features.can_return_columns_from_insert:
        cursor.execute(statement, parameters)
        return int(cursor.lastrowid)
    cursor.execute(f"{statement} RETURNING id", parameters)
    ((made,),) = cursor.fetchall()
    return int(made)


def run_each(statement: str, parameters: Sequence[Sequence[Any]]) -> None:
    _cursor().executemany(statement, parameters)


def locking(statement: str, *, how: str = "FOR UPDATE") -> str:
    """A SELECT that locks what it reads, where the database locks rows."""
    return f"{statement} {how}" if locks_rows() else statement


def locks_rows() -> bool:
    """Whether a transaction leaves others what it does not lock; SQLite has one writer at a time."""
    return bool(connection.features.has_select_for_update)


def insertion(
    model: type[Model], columns: Sequence[str], *, once: Sequence[str] = (), replaced: Iterable[str] = ()
) -> str:
    """INSERT of these columns; where a row with equal `once` exists, the `replaced` ones of it are."""
    text = f"INSERT INTO {model._meta.db_table} ({quoted(columns)}) VALUES ({places(len(columns))})"  # noqa: S608 (names of ours)
    if not once:
        return text
    changes = ", ".join(f'"{column}" = excluded."{column}"' for column in replaced)
    return f"{text} ON CONFLICT ({quoted(once)}) DO UPDATE SET {changes}"


def quoted(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def places(count: int) -> str:
    """So many parameters, as IN takes them."""
    return ", ".join(["%s"] * count)


# One moment is written to several rows.
@lru_cache(maxsize=64)
def stored(moment: datetime | None) -> Any:
    """A moment as the database takes it."""
    return connection.ops.adapt_datetimefield_value(moment)


def json(value: Any) -> Any:
    """JSON as the database takes it."""
    return connection.ops.adapt_json_value(value, None)


def uuid(value: UUID) -> Any:
    """A UUID as the database takes it."""
    return value if connection.features.has_native_uuid_field else value.hex


def moment(given: datetime | None) -> datetime | None:
    """A moment as the database gave it: SQLite's, which are UTC, do not say so."""
    return given.replace(tzinfo=UTC) if given is not None and given.tzinfo is None else given


def partly(model: type[M], fields: Sequence[str], values: Sequence[Any], **related: Model | None) -> M:
    """A saved instance of which these fields are known; any other is loaded when it is asked for.

    What `Model.from_db` does, without looking at every field of the model. `related`: what its foreign keys
    lead to, where that was read with it.
    """
    instance = model.__new__(model)
    state = instance._state = ModelState()
    state.adding, state.db = False, DEFAULT_DB_ALIAS
    state.fields_cache.update(related)
    instance.__dict__.update(zip(fields, values, strict=True))
    return instance


class Columns(Generic[M]):
    """The columns of a model in statements that are written out, and the instances in their rows."""

    def __init__(self, model: type[M], alias: str, *, leave_out: Sequence[str] = ()) -> None:
        self._model, self._alias = model, alias
        self._fields = [field for field in model._meta.concrete_fields if field.name not in leave_out]
        self._names = [str(field.attname) for field in self._fields]
        # What SELECT asks for.
        self.text = ", ".join(f'{alias}."{field.column}"' for field in self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def read(self, row: Sequence[Any], **related: Model | None) -> M:
        """The instance in the values of these columns; `related` as `partly` takes it."""
        values = list(row)
        for place, column, converters in self._converters:
            for convert in converters:
                values[place] = convert(values[place], column, connection)
        return partly(self._model, self._names, values, **related)

    @cached_property
    def _converters(self) -> list[tuple[int, Any, list[Any]]]:
        """Those that Django itself applies, where a column has any."""
        found = []
        for place, field in enumerate(self._fields):
            column = field.get_col(self._alias)
            converters = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
            if converters:
                found.append((place, column, converters))
        return found


def split(row: Sequence[Any], parts: Sequence[Columns[Any]]) -> list[Any]:
    """The instance of each of these in a row of all their columns; None where a join found none."""
    found, start = [], 0
    for part in parts:
        values = row[start : start + len(part)]
        start += len(part)
        found.append(None if values[0] is None else part.read(values))
    return found
