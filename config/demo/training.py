"""The training that streams now: a process of its own that logs as any other would.

Run as `python -m config.demo.training PROJECT RUN_ID`, with address and key in the environment. It ends when
its standard input does, so it never outlives the server that started it. Standard library only.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from random import Random

from config.demo import curves
from config.demo.curves import Fate, Training
from runs import client

# Values are logged so often (seconds), and between two trainings there is a pause.
_EVERY = 0.25
_PAUSE = 8.0
_STEPS = 1200
# The loss jumps at this step, some 22 s after the beginning.
_JUMP = 90
_END_WITHIN = 2.0
# What it reads, by its name in the registry.
DATA = "released-models/voyage-logs:latest"


def train(project: str, run_id: str | None, chance: Random, stop: threading.Event) -> None:
    """One training, to its end or until `stop`."""
    rate = chance.choice((1e-4, 2e-4, 3e-4))
    training = Training(_STEPS, chance.uniform(0.85, 1.0), rate, fate=Fate.SPIKES, turn=_JUMP / _STEPS)
    config = {"model": "base-3b", "lr": rate, "lora": {"rank": 16, "alpha": 32}, "steps": _STEPS}
    run = client.init(project, config, run_id=run_id)
    with suppress(client.TriplineError):  # somebody may have tidied up the registry
        run.use_artifact(DATA)
    for values in curves.language_model(training, chance):
        run.log(values)
        if stop.wait(_EVERY):
            run.finish("killed", deadline=_END_WITHIN)
            return
    run.finish()


def main(project: str, first_run_id: str) -> None:
    stop = threading.Event()
    threading.Thread(target=_watch, args=[stop], daemon=True).start()
    chance, run_id = Random(), first_run_id or None
    while not stop.is_set():
        train(project, run_id, chance, stop)
        run_id = None
        stop.wait(_PAUSE)


def _watch(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main(*sys.argv[1:])
