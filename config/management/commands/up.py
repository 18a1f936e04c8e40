"""`manage.py up`: the whole of Tripline in one process, ready to use when it says so."""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from config import env
from config.demo.live import LiveTraining
from config.demo.making import Example, prepare, refuse_production
from config.embedded import Address, Server, StartError, adopt, listen, lock_data_directory, spool_into
from config.first_start import ADMIN, TEAM, FirstStart, make_admin

INTERRUPTED = 130  # the exit code of a shell for Ctrl-C

_SNIPPET = """\
TRIPLINE_URL={url} TRIPLINE_API_KEY={key} no_proxy={host} python3 - <<'END'
import os, urllib.request
urllib.request.urlretrieve(os.environ["TRIPLINE_URL"] + "/tripline.py", "tripline.py")
import tripline

run = tripline.init(project="{team}/first", config={{"learning_rate": 0.1}})
for step in range(20):
    run.log({{"loss": 1 / (1 + step)}}, step=step)
run.finish()
END"""


class Command(BaseCommand):
    help = "Start Tripline: web server, workers and sweep in one process, with everything they need."
    # They run in `handle`, where what is wrong is said in a sentence.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="0 is any free one (%(default)s)")
        parser.add_argument("--demo", action="store_true", help="with an example to look at, made once")

    def handle(self, *args: Any, host: str, port: int, demo: bool, **options: Any) -> None:
        try:
            self._run(host, port, demo=demo)
        except StartError as refusal:
            sys.exit(str(refusal))
        except DatabaseError as error:
            sys.exit(_why_no_database(error))
        except KeyboardInterrupt:
            self._say("Stopped.")

    def _run(self, host: str, port: int, *, demo: bool) -> None:
        os.umask(0o077)  # whatever is written is for this account alone
        _refuse_nonsense()
        if demo:
            refuse_production()
        lock = lock_data_directory(settings.TRIPLINE_DATA_DIR)
        spool_into(settings.TRIPLINE_DATA_DIR / "tmp")
        listener, address = listen(host, port)
        adopt(address)
        server = Server(listener)
        self._migrate()
        example = self._prepare_example(listener) if demo else None
        signals = Signals(server)
        server.start()
        # After all that can fail: the password that it makes must be seen.
        self._welcome(address, make_admin(env.text("TRIPLINE_ADMIN_PASSWORD")))
        live = LiveTraining(example, address) if example else None
        if live:
            self._show_example(address, live)
        self._say("\nCtrl-C stops it.")
        server.wait()
        if live:
            live.stop()
        self._stop(server, asked=signals.asked)
        lock.close()

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        if plan := executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", verbosity=0, interactive=False)
            self._say(f"The database is ready ({len(plan)} migrations).")

    def _welcome(self, address: Address, first: FirstStart | None) -> None:
        self._say(f"\nTripline serves at {address.url}  (data in {settings.TRIPLINE_DATA_DIR})")
        if address.is_everywhere:
            self._say(
                f"Its links begin with {settings.TRIPLINE_BASE_URL}; set TRIPLINE_BASE_URL, and in "
                "ALLOWED_HOSTS every name people reach it by."
            )
        if first is None:
            self._say("API keys are made with: python3 manage.py createapikey USERNAME")
        else:
            self._show_account(first)
            snippet = _SNIPPET.format(url=address.url, host=address.host, key=first.key, team=TEAM)
            self._say(f"\nTo log a first run, paste this into another terminal:\n\n{snippet}")

    def _show_account(self, first: FirstStart) -> None:
        chosen = env.text("TRIPLINE_ADMIN_PASSWORD")
        password = "the one in TRIPLINE_ADMIN_PASSWORD" if chosen else f"{first.password}  (shown only now)"
        self._say(f"\n  User      {ADMIN}")
        self._say(f"  Password  {password}")
        self._say(f"  API key   {first.key}  (shown only now)")

    def _prepare_example(self, listener: socket.socket) -> Example:
        # Its teams want an admin, who is shown at once: making the rest takes a while, and may be cut short.
        if first := make_admin(env.text("TRIPLINE_ADMIN_PASSWORD")):
            self._show_account(first)
        return prepare(listener, self._say)

    def _show_example(self, address: Address, live: LiveTraining) -> None:
        self._say("\nOpen first, as admin:")
        self._say(f"  a training that streams now    {address.url}{live.page}")
        self._say(f"  what it sent, half a minute in {address.url}{live.inbox_page}")
        self._say("To be rid of the example, stop the server, then: python3 manage.py removedemo")

    def _stop(self, server: Server, *, asked: bool) -> None:
        is_clean = server.stop()
        if asked:
            self._say("Stopped.")
        else:
            self.stderr.write("A part of the server ended by itself, see above; so all of it stopped.")
        if not (asked and is_clean):
            # Python would wait for threads that did not end in time. Rows that wait are all they leave.
            self.stderr.flush()
            os._exit(0 if asked else 1)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


class Signals:
    """The first Ctrl-C or SIGTERM asks the server to stop, the second stops the process at once."""

    def __init__(self, server: Server) -> None:
        self.asked = False
        self._server = server
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(INTERRUPTED)
        self.asked = True
        self._server.end()


def _why_no_database(error: DatabaseError) -> str:
    where = "DATABASE_URL" if connection.vendor == "postgresql" else connection.settings_dict["NAME"]
    return f"The database cannot be used ({where}): {' '.join(str(error).split())}."


def _refuse_nonsense() -> None:
    errors = checks.run_checks(tags=["tripline"])
    if errors:
        raise StartError("\n".join(" ".join(filter(None, (str(e.msg), e.hint))) for e in errors))
