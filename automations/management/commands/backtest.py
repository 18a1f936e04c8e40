"""Works on one backtest that was claimed; the embedded server starts it, nobody needs to."""

from __future__ import annotations

import os
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from automations.backtests import jobs


class Command(BaseCommand):
    help = "Work on one claimed backtest (started by the server)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backtest", type=int)
        parser.add_argument("lease", type=uuid.UUID)

    def handle(self, *args: Any, backtest: int, lease: uuid.UUID, **options: Any) -> None:
        server = os.getppid()
        jobs.work(backtest, lease, goes_on=lambda: os.getppid() == server)
