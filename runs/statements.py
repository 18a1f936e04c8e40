"""The few statements of the hot path, written out.

To put one together takes the ORM ten times as long as it takes the database to run it. What is written here
and at its callers is the same on SQLite and PostgreSQL; everything that is not done for every call of a
client or every batch stays with the ORM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model
from django.db.models.base import ModelState

M = TypeVar("M", bound=Model)


def rows(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What a SELECT gives."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def run(statement: str, parameters: Sequence[Any]) -> int:
    """The number of rows that a statement changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def insert(statement: str, parameters: Sequence[Any]) -> int:
    """The id of the row that an INSERT made."""
    with connection.cursor() as cursor:
        if not connection.features.can_return_columns_from_insert:
            cursor.execute(statement, parameters)
            return int(cursor.lastrowid)
        cursor.execute(f"{statement} RETURNING id", parameters)
        return int(cursor.fetchone()[0])


def run_each(statement: str, parameters: Sequence[Sequence[Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, parameters)


def locking(statement: str) -> str:
    """A SELECT that locks what it reads, where the database locks rows."""
    return f"{statement} FOR UPDATE" if connection.features.has_select_for_update else statement


def insertion(
    model: type[Model], columns: Sequence[str], *, once: Sequence[str] = (), replaced: Iterable[str] = ()
) -> str:
    """INSERT of these columns; where a row with equal `once` exists, the `replaced` ones of it are."""
    places = ", ".join(["%s"] * len(columns))
    text = f"INSERT INTO {model._meta.db_table} ({quoted(columns)}) VALUES ({places})"  # noqa: S608 (names of ours)
    if not once:
        return text
    changes = ", ".join(f'"{column}" = excluded."{column}"' for column in replaced)
    return f"{text} ON CONFLICT ({quoted(once)}) DO UPDATE SET {changes}"


def quoted(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def stored(moment: datetime | None) -> Any:
    """A moment as the database takes it."""
    return connection.ops.adapt_datetimefield_value(moment)


def json(value: Any) -> Any:
    """JSON as the database takes it."""
    return connection.ops.adapt_json_value(value, None)


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
