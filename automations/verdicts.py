"""What a rule decided about one change, and why: codes and data, rendered later for the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reason:
    """A code and the data of its sentence."""

    code: str
    data: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "data": self.data}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the condition holds within a change, in order; without a hit, the reason why not.

    A hit is a position in a metric batch; changes that are no batch have the one position 0.
    """

    hits: Sequence[int] = ()
    reason: Reason | None = None

    @classmethod
    def yes(cls) -> Verdict:
        return cls(hits=(0,))

    @classmethod
    def no(cls, code: str, **data: Any) -> Verdict:
        return cls(reason=Reason(code, data))
