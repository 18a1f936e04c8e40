"""Training losses as runs log them: healthy ones, and such with a divergence that was planted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

VALUES = 1500

Losses = list[float]


def healthy(dice: random.Random) -> Losses:
    """Falls as a power of time, with noise in proportion; now and then the learning rate drops, or a batch
    is harder than others."""
    start, slope, noise = dice.uniform(1, 10), dice.uniform(0.2, 0.5), dice.uniform(0.01, 0.05)
    drop = dice.randrange(300, 1200) if dice.random() < 0.3 else VALUES
    losses = []
    for step in range(VALUES):
        level = start * (step + 10) ** -slope * (0.7 if step >= drop else 1.0)
        harder = dice.uniform(1, 1.08) if dice.random() < 0.02 else 1.0
        losses.append(level * harder * math.exp(dice.gauss(0, noise)))
    return losses


def _somewhere(dice: random.Random) -> int:
    return dice.randrange(200, VALUES - 200)


def nan(dice: random.Random) -> Losses:
    """From some step on there is no number any more."""
    losses, step = healthy(dice), _somewhere(dice)
    return losses[:step] + [math.nan] * (VALUES - step)


def infinite(dice: random.Random) -> Losses:
    """Once, and then it goes on."""
    losses = healthy(dice)
    losses[_somewhere(dice)] = math.inf
    return losses


def spike(dice: random.Random) -> Losses:
    """A few values far above the others, and back."""
    losses, step, height = healthy(dice), _somewhere(dice), dice.uniform(4, 100)
    for place in range(step, step + dice.randint(1, 5)):
        losses[place] *= height
    return losses


def explosion(dice: random.Random) -> Losses:
    """Grows ever faster until it is infinite, or until the run ends."""
    losses, step, growth = healthy(dice), _somewhere(dice), dice.uniform(1.5, 4)
    for place in range(step, VALUES):
        exponent = (place - step + 1) * math.log(growth)
        losses[place] = losses[step - 1] * math.exp(exponent) if exponent < 600 else math.inf
    return losses


def plateau(dice: random.Random) -> Losses:
    """Stops falling halfway and slowly rises."""
    losses = healthy(dice)
    step = dice.randrange(300, VALUES // 2)
    level = sum(losses[step - 50 : step]) / 50
    for place in range(step, VALUES):
        losses[place] = level * (1 + 2e-4 * (place - step)) * math.exp(dice.gauss(0, 0.02))
    return losses


DIVERGENCES: list[Callable[[random.Random], Losses]] = [nan, infinite, spike, explosion, plateau]
