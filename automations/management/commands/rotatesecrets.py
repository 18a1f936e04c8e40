from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from automations import vault
from automations.services.targets import reencrypt


class Command(BaseCommand):
    help = (
        "Encrypts every stored secret anew with the first key of TRIPLINE_SECRET_KEYS. Afterwards the other "
        "keys can be taken out of the variable."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = reencrypt()
        except vault.VaultError as error:
            raise CommandError(f"{error} Nothing was changed.") from error
        self.stdout.write(f"{count} secrets are encrypted with the first key.")
