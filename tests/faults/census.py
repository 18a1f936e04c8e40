"""Counts what an installation holds, in a process that has its settings; prints it as JSON.

python -m tests.faults.census
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults.accounts import Census, Kept, Silent
from tests.faults.load import NOOP
from tests.upserver import ROOT

COUNT_WITHIN = 600.0  # seconds; a million executions take their time


def take_census(env: Mapping[str, str]) -> Census:
    """Count in the installation of this environment."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.census"],
        cwd=ROOT,
        env={**env, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=COUNT_WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return Census(
        deliveries=[
            Kept((rule, about), execution, webhook_id, state)
            for rule, about, execution, webhook_id, state in found["deliveries"]
        ],
        silent={run: Silent(*numbers) for run, numbers in found["silent"].items()},
        odd_executions=found["odd"],
    )


def main() -> None:
    import django

    django.setup()
    print(json.dumps({"deliveries": list(_deliveries()), "silent": _silent(), "odd": _odd_executions()}))


def _deliveries() -> Iterator[tuple[str, str, int, str, str]]:
    """(rule, what it is about, execution, webhook-id, state) of every webhook."""
    from automations.models import Delivery

    rows = Delivery.objects.filter(type="webhook").order_by("pk")
    for body, *rest in rows.values_list("body", "execution_id", "webhook_id", "state").iterator():
        said = json.loads(body)
        yield (said["rule"], said["about"], *rest)


def _silent() -> dict[str, tuple[int, int]]:
    """By run: executions of the rule that sends nothing, and the different steps that they are about."""
    from django.db.models import Count
    from django.db.models.fields.json import KT

    rows = _fired().filter(automation_name=NOOP).order_by().annotate(step=KT("explanation__data__step"))
    counted = rows.values("run__run_id").annotate(all=Count("pk"), steps=Count("step", distinct=True))
    return {row["run__run_id"]: (row["all"], row["steps"]) for row in counted}


def _odd_executions() -> int:
    """Executions without exactly one delivery: every rule here has one action."""
    from django.db.models import Count

    return int(_fired().order_by().annotate(n=Count("deliveries")).exclude(n=1).count())


def _fired() -> Any:
    from automations.models import Execution

    return Execution.objects.exclude(state="skipped")


if __name__ == "__main__":
    main()
