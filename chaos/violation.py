"""Violation: something that must not have happened, with its evidence."""

from collections.abc import Sequence
from typing import NamedTuple

from typing_extensions import override

from chaos.history import Counter


class Violation(NamedTuple):
    kind: str
    text: str
    counter: Counter
    evidence: Sequence[str]

    @override
    def __str__(self) -> str:
        head = f"VIOLATION {self.kind}: {self.text} (license {self.counter.license_id}, {self.counter.resource})"
        return "\n    ".join([head, *self.evidence])
