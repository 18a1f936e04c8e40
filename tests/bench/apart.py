"""Tripline in processes of their own, each on a database of its own: no servers, only the code.

So one run of a bench can ask an empty and a large database in turn, and a noisy moment of the machine hits
both.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.upserver import environment_of


class Apart:
    """The other end of such a process: `ask` calls a function of the bench in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns there; it is found by its name, so it must be one of a module."""
        self._connection.send((function, arguments))
        result, failure = self._connection.recv()
        if failure:
            raise RuntimeError(failure)
        return result


@contextmanager
def databases(shape: str, folder: Path) -> Iterator[Callable[[str], Apart]]:
    """Gives a function that makes one more process with an empty, migrated database, by name."""
    with ExitStack() as stack:
        url = stack.enter_context(_server()) if shape == "production" else ""

        def made(name: str) -> Apart:
            database = {"DATABASE_URL": _create(url, name)} if url else {}
            return stack.enter_context(_process(environment_of(folder / name, database)))

        yield made


def _server() -> Any:
    from tests.servers import postgres

    return postgres()


def _create(url: str, name: str) -> str:
    import psycopg

    with psycopg.connect(url, autocommit=True) as database:
        database.execute(f'CREATE DATABASE "{name}"')
    return url.replace("/postgres?", f"/{name}?")


@contextmanager
def _process(env: Mapping[str, str]) -> Iterator[Apart]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, dict(env)))
    process.start()
    theirs.close()
    try:
        yield Apart(ours)
    finally:
        ours.close()
        process.join(30)
        if process.is_alive():
            process.kill()


def _serve(connection: Connection, env: Mapping[str, str]) -> None:
    _prepare(env)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((function(*arguments), ""))
        except Exception:  # noqa: BLE001 (told to the one who asked, who raises it)
            connection.send((None, traceback.format_exc()))


def _prepare(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env, DJANGO_SETTINGS_MODULE="config.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from automations import doorbell

    settings.TRIPLINE_DATA_DIR.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    # Nobody listens: the bench does a worker's work itself.
    doorbell._ring = lambda task, argument, *, after=0.0: None
