"""Kills Tripline at every commit and at any moment, under load, and counts what is lost or doubled.

    python -m tests.faults --shape embedded --kills 200 --webhook-events 10000 --noop-events 1000000

Starts what it hurts, on an empty directory: `manage.py up`, or PostgreSQL, Valkey, gunicorn, two Celery
workers and beat. Clients make events meanwhile, and resend what broke off; a receiver answers 200, 500,
hangs, or closes the connection. Ends with 1 when anything was lost, decided twice or sent under a second
id, and when a kill or an event that was asked for did not take place in time.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.faults.harness import Order, run
from tests.faults.killing import Plan
from tests.faults.report import Progress, show
from tests.faults.shapes import SHAPES


def main() -> int:
    arguments = _parser().parse_args()
    plan = Plan(arguments.kills, arguments.each, arguments.each, tuple(arguments.only))
    order = Order(
        shape=arguments.shape,
        plan=plan,
        webhook_events=arguments.webhook_events,
        noop_events=arguments.noop_events,
        seed=arguments.seed,
        seconds=arguments.minutes * 60,
    )
    print(f"{order.shape} shape, seed {order.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tripline-faults-") as folder:
        outcome = run(order, arguments.folder or Path(folder), Progress())
    show(outcome)
    return 0 if outcome.is_good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="embedded", help="(%(default)s)")
    parser.add_argument("--kills", type=int, default=200, help="at least so many in all (%(default)s)")
    parser.add_argument(
        "--each",
        type=int,
        default=5,
        help="kills just before, and again just after, every commit boundary, and of every process and "
        "server at random moments (%(default)s)",
    )
    parser.add_argument("--webhook-events", type=int, default=1000, help="(%(default)s)")
    parser.add_argument("--noop-events", type=int, default=20_000, help="(%(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=60, help="no fault and no event after that (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="(any)")
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        metavar="PART",
        help="only boundaries whose names contain one of these (all)",
    )
    parser.add_argument("--folder", type=Path, help="keep data and logs in this new folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
