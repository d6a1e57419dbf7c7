"""What a process asks of the kernel: not to outlive the one that started it, and to hold many files open.

`kill -9` of a parent gives its children no word. Linux can send one: PR_SET_PDEATHSIG (prctl(2)) names the signal that
a process gets when the thread that started it ends. Elsewhere this does nothing, and a supervisor has to do without.
"""

import ctypes
import resource
import signal
import sys
from typing import Final

from core.telemetry import logger

FILES_WANTED: Final = 65_536
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(signum: signal.Signals = signal.SIGKILL) -> None:
    """Call it first thing in the child."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)


def allow_many_files() -> int:
    """Raises this process's limit of open files as far as it goes, and returns it.

    Each client is a file. The usual soft limit of 1,024 is there for select(2), which nobody here calls.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < reachable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft = reachable
    if reachable < FILES_WANTED:
        advice = "raise the hard limit of open files (ulimit -Hn, or LimitNOFILE): fewer clients find room"
        logger().warning("process.few_files", allowed=reachable, wanted=FILES_WANTED, advice=advice)
    return FILES_WANTED if soft == resource.RLIM_INFINITY else soft
