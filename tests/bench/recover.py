"""How long `recover` takes for many failed deliveries, and what a healthy integration feels of it.

    python -m tests.bench.recover [--failed 100000] [--rate 20] [--seconds 15]

Starts its own `up` on an empty directory, puts failed deliveries of one integration into its database, and
recovers them by REST while messages go to another one; then goes on while the recovered ones are sent.
Prints a table and one line of JSON; latencies (decision to receipt) are milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from typing import Any

from tests.bench.isolation import percentiles, prepare, server
from tests.stories.receiver import receiving
from tests.stories.rest import Rest, make_hook
from tests.upserver import UpServer, run_beside

PLANT = """
from automations.models import Delivery, Execution, Integration
from django.utils import timezone
hook, now = Integration.objects.select_related("team__organization").get(pk={hook}), timezone.now()
left = {failed}
while left:
    portion = min(left, 5000)
    left -= portion
    executions = Execution.objects.bulk_create(
        Execution(
            automation_name="planted", event_type="run_status", dedup_key=f"planted:{{left}}:{{number}}",
            state="failed", explanation={{"code": "", "data": {{}}}}, organization=hook.team.organization,
            team=hook.team, created_at=now, finished_at=now,
        )
        for number in range(portion)
    )
    Delivery.objects.bulk_create(
        Delivery(
            execution=execution, integration=hook, type="webhook", body="{{}}", state="failed",
            attempt_count=10, tries=10, created_at=now, finished_at=now,
        )
        for execution in executions
    )
print(Delivery.objects.filter(state="failed").count())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--failed", type=int, default=100_000, help="failed deliveries (%(default)s)")
    parser.add_argument("--rate", type=float, default=20, help="messages per second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=15, help="length of a window (%(default)s)")
    arguments = parser.parse_args()
    with server() as started:
        report = _measure(started, arguments)
    _print(report)


def _measure(started: UpServer, arguments: argparse.Namespace) -> dict[str, Any]:
    rest = Rest(started.url, started.key, timeout=300)
    with receiving() as healthy, receiving() as back_again:
        hook = make_hook(rest, back_again.url, name="was_down")
        _plant(started, hook, arguments.failed)
        beat, _project = prepare(rest, healthy, name="recover")
        beat.send(rate=arguments.rate, seconds=2)  # warms up
        before = beat.send(rate=arguments.rate, seconds=arguments.seconds)
        recovering = Recovering(rest, hook)
        recovering.start()
        meanwhile = beat.send(rate=arguments.rate, seconds=arguments.seconds)
        recovering.join()
        afterwards = beat.send(rate=arguments.rate, seconds=arguments.seconds)
        return {
            "bench": "recover",
            "failed": arguments.failed,
            "requeued": recovering.requeued,
            "seconds": round(recovering.seconds, 2),
            "sent": len(back_again.letters),
            "load": [round(load, 2) for load in os.getloadavg()[:2]],
            "cores": os.cpu_count(),
            "ms": {
                "before": percentiles(before),
                "meanwhile": percentiles(meanwhile),
                "afterwards": percentiles(afterwards),
            },
        }


def _plant(started: UpServer, hook: int, failed: int) -> None:
    """Beside the server, in portions that a minute is enough for."""
    planted = 0
    while planted < failed:
        portion = min(20_000, failed - planted)
        script = PLANT.format(hook=hook, failed=portion).replace("planted:", f"planted:{planted}:")
        planted = int(run_beside(started.env, script))


class Recovering(threading.Thread):
    def __init__(self, rest: Rest, hook: int) -> None:
        super().__init__()
        self._rest, self._hook = rest, hook
        self.requeued, self.seconds = 0, 0.0

    def run(self) -> None:
        began = time.perf_counter()
        answer = self._rest.post(
            "deliveries/recover/", {"integration": self._hook, "since": "2020-01-01T00:00:00Z"}
        )
        self.seconds, self.requeued = time.perf_counter() - began, answer["requeued"]


def _print(report: dict[str, Any]) -> None:
    print(f"{report['requeued']} of {report['failed']} requeued in {report['seconds']} s")
    print(f"{report['sent']} of them sent by the end\n")
    print(f"{'a healthy neighbour, ms':<24}     p50     p95     p99     max")
    for name, figures in report["ms"].items():
        print(f"{name:<24}" + "".join(f"{figure:8.1f}" for figure in figures.values()))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
