"""What a fresh installation needs before the first person can sign in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.db import transaction

from runs.models import User
from runs.services import people

ADMIN = "admin"
TEAM = "main"


@dataclass(frozen=True)
class FirstStart:
    """What was made. `password` and `key` are stored as hashes only: to be shown now or never."""

    password: str
    key: str


@transaction.atomic
def make_admin(password: str) -> FirstStart | None:
    """Make the superuser, a team that it administers and a key of its own; None where people exist.

    An empty `password` means a random one.
    """
    if User.objects.exists():
        return None
    password = password or secrets.token_urlsafe(15)
    admin = User.objects.create_superuser(ADMIN, password=password)
    people.create_team(TEAM, owner=admin)
    _row, key = people.create_key(admin, "first start")
    return FirstStart(password, key)
