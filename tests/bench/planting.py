"""Filling a large database fast: many copies of a row, made by the database itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from datetime import timedelta

    from django.db.models import Model

_COPIES = """
WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < %s)
INSERT INTO {table} ({columns}) SELECT {values} FROM numbers, {table} pattern WHERE pattern.{key} = %s
"""


def copy(row: Model, count: int, varied: Mapping[str, str]) -> int:
    """Insert `count` copies of a saved row; the key before the first one's (where keys are numbers in turn).

    `varied`: what differs, SQL by column; in it `i` is 1, 2, 3 …, and `{before}` the key before the first.
    """
    if count <= 0:
        return 0
    meta, before = row._meta, type(row)._default_manager.latest("pk").pk
    key = meta.pk.column
    named = {column: text.format(before=before) for column, text in varied.items()}
    every = [str(field.column) for field in meta.concrete_fields]
    columns = [column for column in every if column != key or key in named]
    statement = _COPIES.format(
        table=meta.db_table,
        key=key,
        columns=", ".join(f'"{column}"' for column in columns),
        values=", ".join(named.get(column, f'pattern."{column}"') for column in columns),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("%", "%%").replace("%%s", "%s"), [count, row.pk])
    return int(before)


def earlier(column: str, apart: timedelta) -> str:
    """SQL: the pattern's moment, `i` times so much earlier."""
    seconds = apart.total_seconds()
    if connection.vendor == "postgresql":
        return f"pattern.\"{column}\" - i * interval '{seconds} seconds'"
    return f"strftime('%Y-%m-%d %H:%M:%f', pattern.\"{column}\", '-' || (i * {seconds}) || ' seconds')"


def analyse() -> None:
    """What a database finds out by itself sooner or later."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
