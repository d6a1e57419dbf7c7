"""Processor time and memory that a run used: of each part of the server, of the drivers, and of the whole machine."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from loadtest import processor
from loadtest.results import Number

Pids = Mapping[str, Sequence[int]]
"""The processes of each part that answers, by its name; those they started count too."""


class Used(NamedTuple):
    """Processor time in seconds."""

    parts: Mapping[str, float]
    driver: float
    machine: float

    @classmethod
    def now(cls, parts: Pids, driver: Sequence[int]) -> Self:
        used = {part: processor.seconds_of(pids) for part, pids in parts.items() if pids}
        return cls(used, processor.seconds_of(driver), processor.busy_seconds())

    def since(self, before: "Used") -> "Used":
        parts = {part: used - before.parts[part] for part, used in self.parts.items()}
        return Used(parts, self.driver - before.driver, self.machine - before.machine)

    def micros(self, requests: int) -> dict[str, float]:
        """Of each part for one request."""
        return {part: used * 1e6 / max(1, requests) for part, used in self.parts.items()}

    def facts(self, requests: int, seconds: float) -> dict[str, str | Number]:
        facts: dict[str, str | Number] = {"driver CPU µs per request": self.driver * 1e6 / max(1, requests)}
        for part, micros in self.micros(requests).items():
            facts[f"{part} CPU µs per request"] = micros
            facts[f"{part} cores used"] = self.parts[part] / seconds
        # This includes what is not told above, such as PostgreSQL and the kernel's own work.
        others = self.machine - self.driver - sum(self.parts.values())
        facts["cores used by all others"] = max(0.0, others) / seconds
        return facts


def resident_mb(parts: Pids) -> dict[str, float]:
    return {part: processor.resident_mb(pids) for part, pids in parts.items() if pids}
