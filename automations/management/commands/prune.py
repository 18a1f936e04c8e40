from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from automations.retention import prune


class Command(BaseCommand):
    help = "Deletes history that is older than its retention. The server does the same every hour."

    def handle(self, *args: Any, **options: Any) -> None:
        for noun, count in prune().items():
            self.stdout.write(f"{count:>8} {noun}")
