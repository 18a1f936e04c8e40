"""`manage.py removedemo`: the example goes, everything else stays."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.demo import making, removal
from config.embedded import StartError, lock_data_directory


class Command(BaseCommand):
    help = "Remove what `up --demo` made: its teams, runs, registry, rules and their history."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            lock = lock_data_directory(settings.TRIPLINE_DATA_DIR)
        except StartError as refusal:
            sys.exit(str(refusal))
        with lock:
            example = making.found()
            if example is None:
                self.stdout.write("There is no example here.")
                return
            removal.remove(example.organization)
            making.forget()
            self.stdout.write("The example is gone.")
