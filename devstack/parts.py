"""Description of a stack, as data: parts that run and are kept running, and steps that are run once.

Both name what they come after. The supervisor is a loop over these descriptions and knows nothing else about the stack.
"""

import http.client
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from devstack.choices import Choices
from devstack.keyring import Keyring
from devstack.leash import Launch

_PROBE_TIMEOUT: Final = 2.0


class Server(Protocol):
    """A process that serves until it is told to stop."""

    @property
    def advice(self) -> str:
        """Advice for a person when it does not start, besides reading its log."""
        ...

    def prepare(self) -> None:
        """Prepares each start."""
        ...

    def launch(self) -> Launch: ...

    def is_ready(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Service:
    """A server that says over HTTP whether it is ready."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    health: str
    advice: str = ""
    stop_signal: signal.Signals = signal.SIGTERM

    def prepare(self) -> None:
        """Nothing: a service keeps its state elsewhere."""

    def launch(self) -> Launch:
        return Launch(argv=self.argv, env=self.env, cwd=self.cwd, stop_signal=self.stop_signal)

    def is_ready(self) -> bool:
        return answers(self.health)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A server with its place in the stack."""

    name: str
    server: Server
    after: tuple[str, ...] = ()
    patience: float = 15.0
    """Seconds for a clean end, before it is killed."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Work that ends: a command, or a function of ours. Run again on every start, so it must be idempotent."""

    name: str
    work: Launch | Callable[[], None]
    after: tuple[str, ...] = ()


Node = Part | Step


@dataclass(frozen=True)
class Stack:
    """The nodes, and what run.json and the table tell about them."""

    nodes: tuple[Node, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """Makes a stack from a person's choices, the secrets of its data folder, and its ports."""

    wanted_ports: Callable[[Choices], Mapping[str, int]]
    describe: Callable[[Choices, Keyring, Mapping[str, int]], Stack]


def levels(nodes: Sequence[Node]) -> dict[str, int]:
    """Level of each node: above all that it comes after. Stopping goes from the highest level down."""
    height: dict[str, int] = {}
    for node in nodes:
        unknown = [name for name in node.after if name not in height]
        if unknown:
            raise ValueError(f"{node.name} comes after {unknown}, which stand later or nowhere")
        height[node.name] = 1 + max((height[name] for name in node.after), default=0)
    return height


def answers(url: str) -> bool:
    """True if a GET is answered with 200 now."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=_PROBE_TIMEOUT)
    try:
        connection.request("GET", where.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
