"""Process limits, set through the kernel: a child ends with its parent, and a process may open many files.

`kill -9` of a parent tells its children nothing. Linux can: PR_SET_PDEATHSIG (prctl(2)) names the signal that a process
gets when the thread that started it ends. On other systems this does nothing, and a supervisor has to do without.
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
    """Call this first in the child."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)


def allow_many_files() -> int:
    """Raises this process's limit of open files as far as the system allows, and returns it.

    Each client is a file. The usual soft limit of 1,024 exists for select(2), which is not used here.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < reachable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft = reachable
    if reachable < FILES_WANTED:
        advice = "raise the hard limit of open files (ulimit -Hn, or LimitNOFILE) to serve more clients"
        logger().warning("process.few_files", allowed=reachable, wanted=FILES_WANTED, advice=advice)
    return FILES_WANTED if soft == resource.RLIM_INFINITY else soft
