"""Curves as trainings draw them. Pure, standard library only, and the same for the same chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

Values = dict[str, float]


class Fate(StrEnum):
    """What becomes of a training."""

    LEARNS = "learns"
    OVERFITS = "overfits"
    SPIKES = "spikes"  # the loss jumps once and comes back
    DIVERGES = "diverges"  # until there are no numbers any more
    RUNS_HOT = "runs hot"


@dataclass(frozen=True, slots=True)
class Training:
    """How a training goes; `quality` is 0 for a poor one and 1 for the best there is."""

    steps: int
    quality: float
    learning_rate: float
    fate: Fate = Fate.LEARNS
    # Of all steps, the part that is done before something befalls it.
    turn: float = 0.6


class Drift:
    """Noise in which a value remembers the ones before it."""

    def __init__(self, chance: Random, size: float, *, memory: float = 0.6) -> None:
        self._chance, self._size, self._memory, self._last = chance, size, memory, 0.0

    def next(self) -> float:
        self._last = self._memory * self._last + self._chance.gauss(0.0, self._size)
        return self._last


def classifier(training: Training, chance: Random) -> Iterator[Values]:
    """An image classifier: losses and accuracies, the validation's once in a while."""
    every = max(1, training.steps // 40)
    noise, coarse = Drift(chance, chance.uniform(0.025, 0.07)), Drift(chance, 0.012)
    speed = (4 + 4 * training.quality) * chance.uniform(0.55, 1.3)
    floor, best = 0.62 - 0.5 * training.quality, 0.74 + 0.215 * training.quality
    for step in range(training.steps):
        done = step / training.steps
        clean = floor + (2.3 - floor) * math.exp(-speed * done)
        mishap = _mishap(training, done)
        loss = clean * (1 + noise.next()) + mishap
        accuracy = min(0.999, max(0.08, math.exp(-0.75 * loss) + 0.02 * chance.random()))
        values = {"train/loss": loss, "train/accuracy": accuracy, "train/lr": _cosine(training, done)}
        if step % every == every - 1:
            spoilt = 1.6 * max(0.0, done - 0.45) ** 1.5 if training.fate == Fate.OVERFITS else 0.0
            learnt = best * (1 - math.exp(-6 * done)) - 0.12 * spoilt + coarse.next()
            values["val/loss"] = (clean * 1.08 + 0.05 + spoilt) * (1 + coarse.next()) + mishap
            values["val/accuracy"] = min(0.995, max(0.1, learnt - 0.2 * min(mishap, 3.0)))
        yield _told(training, done, values)


def language_model(training: Training, chance: Random) -> Iterator[Values]:
    """The tuning of a language model: loss, gradient, throughput; perplexity once in a while."""
    every = max(1, training.steps // 25)
    noise, gradient = Drift(chance, chance.uniform(0.012, 0.03)), Drift(chance, 0.09)
    pace = Drift(chance, 0.004, memory=0.9)
    floor, speed = 1.95 - 0.6 * training.quality, chance.uniform(4.5, 10.0)
    for step in range(training.steps):
        done = step / training.steps
        clean = floor + (3.1 - floor) * math.exp(-speed * done)
        mishap = _mishap(training, done)
        values = {
            "train/loss": clean * (1 + noise.next()) + mishap,
            "train/grad_norm": (0.8 + 1.6 * math.exp(-20 * done)) * math.exp(gradient.next()) + 4 * mishap,
            "train/tokens_per_second": 14_200 * (1 + pace.next()),
            "train/lr": _linear(training, done),
        }
        if step % every == every - 1:
            spoilt = 1.8 * max(0.0, done - 0.4) ** 1.5 if training.fate == Fate.OVERFITS else 0.0
            values["val/loss"] = clean * 1.03 + spoilt + mishap + abs(chance.gauss(0.0, 0.008))
            values["val/perplexity"] = math.exp(min(20.0, values["val/loss"]))
        yield _told(training, done, values)


def machine(training: Training, samples: int, chance: Random) -> Iterator[Values]:
    """What the machine tells of itself meanwhile."""
    load, heat = Drift(chance, 2.0), Drift(chance, 0.4, memory=0.9)
    hottest = 86.5 if training.fate == Fate.RUNS_HOT else 71.0 + 4 * training.quality
    for sample in range(samples):
        done = sample / samples
        yield {
            "gpu.0.gpu": min(100.0, max(0.0, 94 + load.next() - (40 if sample % 29 == 28 else 0))),
            "gpu.0.memory_percent": 78.4 if done > 0.02 else 12.0,
            "gpu.0.temp": hottest - (hottest - 41) * math.exp(-14 * done) + heat.next(),
            "memory_percent": 37 + 9 * done + chance.gauss(0.0, 0.3),
            "cpu": max(1.0, 31 + 2 * load.next()),
        }


def _mishap(training: Training, done: float) -> float:
    """What is added to a loss after the turn."""
    since = done - training.turn
    if since < 0:
        return 0.0
    if training.fate == Fate.SPIKES:
        return 2.4 * math.exp(-45 * since)
    if training.fate == Fate.DIVERGES:
        return 0.05 * math.expm1(60 * since)
    return 0.0


def _told(training: Training, done: float, values: Values) -> Values:
    """A diverging training ends in values that are none, though its schedule goes on."""
    if training.fate != Fate.DIVERGES or done < training.turn + 0.07:
        return values
    return {name: value if name in _UNTOUCHED else math.nan for name, value in values.items()}


_UNTOUCHED = {"train/lr", "train/tokens_per_second"}


def _warm(done: float) -> float:
    return min(1.0, done / 0.05)


def _cosine(training: Training, done: float) -> float:
    return training.learning_rate * _warm(done) * 0.5 * (1 + math.cos(math.pi * done))


def _linear(training: Training, done: float) -> float:
    return training.learning_rate * _warm(done) * (1 - 0.9 * done)
