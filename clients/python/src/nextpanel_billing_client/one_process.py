"""One client belongs to one process: connections to servers and to SQLite do not survive a fork.

What is shared by two processes mixes up their answers, and may damage the store. A client that was made before a fork
and used only after it is fine: nothing is open until the first use.
"""

import os


class OneProcess:
    def __init__(self) -> None:
        self._pid: int | None = None

    def check(self) -> None:
        """Raises RuntimeError in any process but the first that asked."""
        pid = os.getpid()
        if self._pid is None:
            self._pid = pid
        elif self._pid != pid:
            raise RuntimeError("this client was used before a fork: make one in each process, after the fork")
