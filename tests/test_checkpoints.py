"""What was written comes into the database's file without anybody who writes having to wait for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from django.db import connection

from config.sqlite.checkpoints import Checkpoints
from runs.models import Organization
from tests.stories import embedded_alone
from tests.upserver import wait_for

pytestmark = [embedded_alone, pytest.mark.django_db(transaction=True)]

MARK = "a name that is nowhere else"


def test_what_was_written_is_copied_into_the_file() -> None:
    file = Path(connection.settings_dict["NAME"])
    Organization.objects.create(name=MARK)
    assert MARK.encode() not in file.read_bytes()
    checkpoints = Checkpoints()
    checkpoints.start()
    try:
        wait_for(lambda: MARK.encode() in file.read_bytes())
    finally:
        checkpoints.stop()
    assert checkpoints.join(time.monotonic() + 5)
