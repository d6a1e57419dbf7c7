"""A process that must not outlive the one that started it.

`kill -9` of a parent gives its children no word. Linux can send one: PR_SET_PDEATHSIG (prctl(2)) names the signal that
a process gets when the thread that started it ends. Elsewhere this does nothing, and a supervisor has to do without.
"""

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(signum: signal.Signals = signal.SIGKILL) -> None:
    """Call it first thing in the child."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
