"""Which trainings there were: their settings, how they went, how they ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from config.demo import curves
from config.demo.curves import Fate, Training
from runs.models import RunStatus

Curve = Callable[[Training, Random], Iterator[curves.Values]]

# So far back the first run began.
PAST = timedelta(days=20, hours=6)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, and which part of its steps it had done by then."""

    status: RunStatus
    done: float = 1.0


DONE = Ending(RunStatus.FINISHED)
# What is out of the ordinary, by the number of the run in its project.
_CLASSIFIER_ENDINGS = {
    3: Ending(RunStatus.CRASHED, 0.47),
    6: Ending(RunStatus.FAILED, 0.78),
    9: Ending(RunStatus.KILLED, 0.31),
    13: Ending(RunStatus.FAILED, 0.72),
    17: Ending(RunStatus.CRASHED, 0.63),
    20: Ending(RunStatus.PREEMPTED, 0.4),
    23: Ending(RunStatus.PREEMPTING, 0.82),
    24: Ending(RunStatus.PENDING, 0.0),
}
_CLASSIFIER_FATES = {
    1: Fate.OVERFITS,
    4: Fate.SPIKES,
    6: Fate.DIVERGES,
    8: Fate.RUNS_HOT,
    11: Fate.OVERFITS,
    13: Fate.DIVERGES,
    15: Fate.SPIKES,
    18: Fate.OVERFITS,
    21: Fate.RUNS_HOT,
}
_LANGUAGE_ENDINGS = {
    1: Ending(RunStatus.FAILED, 0.12),
    2: Ending(RunStatus.FAILED, 0.8),
    8: Ending(RunStatus.KILLED, 0.5),
    12: Ending(RunStatus.CRASHED, 0.55),
}
_LANGUAGE_FATES = {
    0: Fate.SPIKES,
    2: Fate.DIVERGES,
    3: Fate.OVERFITS,
    10: Fate.SPIKES,
    13: Fate.SPIKES,
    14: Fate.OVERFITS,
    16: Fate.SPIKES,
}
# Each worked on from early to late; later settings are better ones, mostly.
_CLASSIFIERS = ("resnet18", "resnet18", "resnet50", "convnext-tiny", "vit-small", "convnext-small")
_LANGUAGE_MODELS = ("base-1b", "base-1b", "base-3b", "base-3b", "base-7b")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: where on the way through the past it began, how long it took, what it was."""

    number: int
    begins: float  # 0 is the beginning of the past, 1 its end
    lasts: timedelta
    config: dict[str, Any]
    training: Training
    ending: Ending
    # By whom, as a number among the team's members.
    by: int


def classifier_plans(chance: Random) -> list[Plan]:
    return [_classifier(number, 25, chance) for number in range(25)]


def language_plans(chance: Random) -> list[Plan]:
    return [_language(number, 17, chance) for number in range(17)]


def _classifier(number: int, of: int, chance: Random) -> Plan:
    progress = number / (of - 1)
    architecture = _CLASSIFIERS[min(int(progress * len(_CLASSIFIERS) + chance.random()), 5)]
    rate = chance.choice((3e-4, 5e-4, 1e-3, 2e-3))
    fate = _CLASSIFIER_FATES.get(number, Fate.LEARNS)
    rate = 0.02 if fate == Fate.DIVERGES else rate
    training = Training(
        steps=chance.choice((200, 400, 600, 800, 1200)),
        quality=_quality(progress, chance),
        learning_rate=rate,
        fate=fate,
        turn=chance.uniform(0.45, 0.6),
    )
    config = {
        "architecture": architecture,
        "optimizer": {"name": chance.choice(("adamw", "adamw", "sgd")), "lr": rate, "weight_decay": 0.05},
        "batch_size": chance.choice((64, 128, 256)),
        "augmentation": "none" if fate == Fate.OVERFITS else chance.choice(("flip", "randaugment", "mixup")),
        "image_size": 224,
        "dataset": f"seabird-photos:v{min(2, int(progress * 3))}",
        "seed": number % 3,
    }
    return _plan(number, progress, config, training, _CLASSIFIER_ENDINGS, chance)


def _language(number: int, of: int, chance: Random) -> Plan:
    progress = number / (of - 1)
    rate = chance.choice((5e-5, 1e-4, 2e-4))
    fate = _LANGUAGE_FATES.get(number, Fate.LEARNS)
    rate = 2e-3 if fate == Fate.DIVERGES else rate
    training = Training(
        steps=chance.choice((400, 800, 1200, 2000)),
        quality=_quality(progress, chance),
        learning_rate=rate,
        fate=fate,
        turn=chance.uniform(0.4, 0.65),
    )
    config = {
        "model": _LANGUAGE_MODELS[min(int(progress * len(_LANGUAGE_MODELS)), 4)],
        "lora": {"rank": chance.choice((8, 16, 64)), "alpha": 32, "dropout": 0.05},
        "lr": rate,
        "warmup_ratio": 0.05,
        "sequence_length": chance.choice((2048, 4096)),
        "gradient_accumulation": chance.choice((4, 8)),
        "dataset": "voyage-logs:v1",
        "precision": "bf16",
    }
    return _plan(number, progress, config, training, _LANGUAGE_ENDINGS, chance)


def _plan(
    number: int,
    progress: float,
    config: dict[str, Any],
    training: Training,
    endings: dict[int, Ending],
    chance: Random,
) -> Plan:
    return Plan(
        number=number,
        begins=0.97 * progress + chance.uniform(0.0, 0.015),
        lasts=timedelta(minutes=chance.uniform(35, 400)),
        config=config,
        training=training,
        ending=endings.get(number, DONE),
        by=chance.randrange(3),
    )


def _quality(progress: float, chance: Random) -> float:
    return min(1.0, max(0.0, 0.15 + 0.75 * progress + chance.uniform(-0.15, 0.15)))
