"""Full disk, simulated: no file of a server's process may grow (RLIMIT_FSIZE) while the block runs.

Writes then fail with EFBIG, which servers handle like ENOSPC.
"""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from typing_extensions import override

from devstack.leash import Launch
from devstack.valkey import Valkey

_UNBOUND: Final = resource.RLIM_INFINITY


class SurvivingValkey(Valkey):
    """A server that ignores SIGXFSZ, because a full disk sends no signal."""

    @override
    def launch(self) -> Launch:
        launch = super().launch()
        return replace(launch, argv=("/bin/sh", "-c", 'trap "" XFSZ && exec "$0" "$@"', *launch.argv))


@contextmanager
def full_disk(server: subprocess.Popen[Any]) -> Iterator[None]:
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, _UNBOUND))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (_UNBOUND, _UNBOUND))
