"""The yardstick of `tests.bench.ingest`: a Django view that decodes a metrics call and inserts it, packed.

One row per metric with its steps, times and values as packed arrays, in one transaction, by the same
database backend and the same server as Tripline. No middleware, no authentication, no lanes, no summaries,
no automations, no checks beyond those that the decoder makes for nothing.

    python -m tests.bench.bareview          serves with waitress, as `up` does, and prints where
    gunicorn 'tests.bench.bareview:application()'
"""

from __future__ import annotations

import os
from array import array
from threading import Event
from typing import TYPE_CHECKING

import msgspec
from django.http import HttpRequest, HttpResponse
from django.urls import path

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_TABLE = """
CREATE TABLE IF NOT EXISTS bare_chunk (
    name varchar(250) NOT NULL, seq bigint NOT NULL,
    steps {blob} NOT NULL, timestamps {blob} NOT NULL, vals {blob} NOT NULL
)
"""
_INSERT = "INSERT INTO bare_chunk (name, seq, steps, timestamps, vals) VALUES (%s, %s, %s, %s, %s)"


class Point(msgspec.Struct):
    step: int
    timestamp: float
    values: dict[str, float]


class Call(msgspec.Struct):
    points: list[Point]


_decoder = msgspec.json.Decoder(Call)


def view(request: HttpRequest) -> HttpResponse:
    from django.db import connection, transaction

    columns: dict[str, tuple[array[int], array[float], array[float]]] = {}
    for point in _decoder.decode(request.body).points:
        for name, value in point.values.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = array("q"), array("d"), array("d")
            column[0].append(point.step)
            column[1].append(point.timestamp)
            column[2].append(value)
    rows = [
        (name, 1, steps.tobytes(), times.tobytes(), values.tobytes())
        for name, (steps, times, values) in columns.items()
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(_INSERT, rows)
    return HttpResponse(b'{"accepted":%d}' % len(rows), content_type="application/json", status=202)


urlpatterns = [path("bare/", view)]


def application() -> WSGIApplication:
    """Tripline's settings with this one view, and nothing around it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.db import connection

    settings.MIDDLEWARE = []
    settings.ROOT_URLCONF = "tests.bench.bareview"
    served = get_wsgi_application()
    blob = "bytea" if connection.vendor == "postgresql" else "BLOB"
    with connection.cursor() as cursor:
        cursor.execute(_TABLE.format(blob=blob))
    connection.close()
    return served


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.conf import settings

    settings.TRIPLINE_DATA_DIR.mkdir(parents=True, exist_ok=True)
    served = application()
    from config.embedded import listen, spool_into
    from config.web import Web

    spool_into(settings.TRIPLINE_DATA_DIR / "tmp")
    listener, address = listen("127.0.0.1", 0)
    ended = Event()
    Web(listener, served, ended.set).start()
    print(f"Listening at: {address.url}", flush=True)
    ended.wait()


if __name__ == "__main__":
    main()
