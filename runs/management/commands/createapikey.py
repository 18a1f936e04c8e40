from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from runs.models import User
from runs.services import people


class Command(BaseCommand):
    help = "Make an API key for a user and print it; it is stored hashed and cannot be shown again."
    requires_system_checks = ("tripline",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="command line", help="what the key is for (%(default)s)")

    def handle(self, *args: Any, username: str, name: str, **options: Any) -> None:
        try:
            _row, key = people.create_key(_active_user(username), name)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({error}). `python3 manage.py up` makes a new one ready; "
                "an existing one is named by TRIPLINE_DATA_DIR or DATABASE_URL."
            ) from error
        self.stdout.write(key)


def _active_user(username: str) -> User:
    people_here = User.objects.filter(is_service=False)
    user = people_here.filter(username=username).first()
    if user is None:
        raise CommandError(f"There is no user named {username!r}. {_hint(username)}")
    if not user.is_active:
        raise CommandError(f"The user {username!r} is switched off; a key would not be accepted.")
    return user


def _hint(username: str) -> str:
    """The nearest known names, or the first few."""
    known = list(
        User.objects.filter(is_service=False).order_by("username").values_list("username", flat=True)
    )
    near = get_close_matches(username, known) or known[:10]
    if not near:
        return "There is none yet: `python3 manage.py up` makes the first."
    return f"Known: {', '.join(near)}{', …' if len(near) < len(known) else ''}."
