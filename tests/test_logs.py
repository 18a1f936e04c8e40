"""A log line says what it is about: the ids given with it, in text and in JSON."""

from __future__ import annotations

import json
import logging
import logging.config
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from config.logs import IDS, JsonFormatter, TextFormatter
from tests.upserver import ROOT, environment_of


def said(formatter: logging.Formatter, message: str = "sent", *args: Any, **extra: Any) -> str:
    """What a handler with this formatter would write of `log.info(message, *args, extra=extra)`."""
    log = logging.getLogger("tripline.delivery")
    record = log.makeRecord(log.name, logging.INFO, __file__, 1, message, args, None, extra=extra)
    return formatter.format(record)


def as_json(message: str = "sent", *args: Any, **extra: Any) -> dict[str, Any]:
    line = said(JsonFormatter(), message, *args, **extra)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return found


TEXT = TextFormatter("{levelname} {message}", style="{")


def test_json_carries_every_id() -> None:
    ids = {name: number for number, name in enumerate(IDS)}
    entry = as_json("sent to %s", "example.com", **ids)
    assert entry == {
        "time": entry["time"],
        "level": "info",
        "logger": "tripline.delivery",
        "message": "sent to example.com",
        **ids,
    }
    assert datetime.fromisoformat(entry["time"]).tzinfo is not None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("msg_1", "msg_1"),
        (7, 7),
        (0.25, 0.25),
        (True, True),
        (None, None),
        ([1, "two", None], [1, "two", None]),
        ((1, 2), [1, 2]),
        ({"a": {"b": 1.5}}, {"a": {"b": 1.5}}),
        (float("nan"), "nan"),
        ([float("inf")], ["inf"]),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 9, 1, 12, tzinfo=UTC), "2026-09-01T12:00:00+00:00"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_json_carries_what_json_can(value: Any, written: Any) -> None:
    assert as_json(reason=value)["reason"] == written


def test_json_leaves_out_an_object_and_keeps_the_rest() -> None:
    circle: list[Any] = []
    circle.append(circle)
    entry = as_json(request=object(), rows=[object()], circle=circle, delivery=31)
    assert set(entry) == {"time", "level", "logger", "message", "delivery"}


def test_an_extra_does_not_replace_what_the_line_is_read_by() -> None:
    entry = as_json(time="never", level="quiet", logger="nobody")
    assert (entry["level"], entry["logger"]) == ("info", "tripline.delivery")
    assert entry["time"] != "never"


def test_json_has_the_exception_in_the_same_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    record.delivery = 31
    entry = json.loads(JsonFormatter().format(record))
    assert entry["exception"].endswith("ValueError: broken")
    assert entry["delivery"] == 31


def test_text_ends_with_the_ids_in_a_fixed_order() -> None:
    line = said(TEXT, "sent", delivery=31, webhook_id="msg_1", execution=12)
    assert line == "INFO sent [execution=12 delivery=31 webhook_id=msg_1]"


def test_text_leaves_out_what_is_no_id_and_what_is_none() -> None:
    assert said(TEXT, "sent", duration=0.2, execution=None, run=object()) == "INFO sent"


def test_text_stays_one_line_whatever_an_id_holds() -> None:
    line = said(TEXT, "sent", run="a]\nERROR forged")
    assert line == r"INFO sent [run='a]\nERROR forged']"


def test_text_puts_the_ids_before_the_traceback() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    record.execution = 12
    lines = TEXT.format(record).splitlines()
    assert lines[0] == "ERROR failed [execution=12]"
    assert lines[-1] == "ValueError: broken"


@pytest.mark.parametrize(("shape", "formatter"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_the_settings_use_them(shape: str, formatter: type[logging.Formatter]) -> None:
    configuration: dict[str, Any] = settings.LOGGING
    made = logging.config.DictConfigurator(configuration).configure_formatter(
        dict(configuration["formatters"][shape])
    )
    assert isinstance(made, formatter)


def test_a_process_that_is_told_json_writes_json(tmp_path: Path) -> None:
    script = """
import django; django.setup()
import logging
logging.getLogger("tripline.delivery").info("sent", extra={"execution": 12, "delivery": 31})
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment_of(tmp_path, {"TRIPLINE_LOG": "json", "DJANGO_SETTINGS_MODULE": "config.settings"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (line,) = done.stderr.splitlines()
    entry = json.loads(line)
    assert (entry["message"], entry["execution"], entry["delivery"]) == ("sent", 12, 31)
