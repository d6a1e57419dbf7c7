"""Child processes that die with their parent.

A parent that is killed with SIGKILL cannot tidy up. On Linux the kernel can do it: each child asks for a signal at its
parent's death (prctl(2), PR_SET_PDEATHSIG). Two traps are closed here. The request is forgotten when the process
changes its user, so it is made after that. A parent that died before the request was made never sends the signal, so
the child looks afterwards whether its parent is still the one that started it. Other systems have no such signal:
there a killed supervisor's children stay, and the next start says so.

The death is that of the parent's *thread*, therefore children are started from a main thread only.
"""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """A user of the operating system that a child runs as; only root can ask for one."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> "Account":
        entry = pwd.getpwnam(name)
        return cls(name, entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Command, environment and user of one process. The same description serves subprocess and asyncio."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds secrets
    cwd: Path
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks for a clean end, and is what the kernel sends when the parent dies."""

    def options(self) -> dict[str, Any]:
        """Keyword arguments for Popen or create_subprocess_exec.

        A session of its own keeps Ctrl-C in the terminal from reaching the child, whose turn to stop the supervisor
        decides, and makes it the leader of a group that can be swept as one.
        """
        identity: dict[str, Any] = {}
        if self.account:
            identity = {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return identity | {
            "env": dict(self.env),
            "cwd": self.cwd,
            "start_new_session": True,
            "preexec_fn": leash(self.stop_signal),
        }


def leash(death_signal: signal.Signals) -> Callable[[], None]:
    """Runs in a child just before exec, so that it gets `death_signal` when this process dies."""
    parent = os.getpid()

    def hold() -> None:
        if _LIBC is None:
            return
        _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal.value, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return hold
