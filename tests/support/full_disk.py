"""A server whose disk is full, without a disk to fill.

No file of its process may grow (RLIMIT_FSIZE) for as long as the block lasts. Writes then fail with EFBIG, which
servers take as they take ENOSPC.
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
    """One that the signal for a file too large does not end: a full disk sends none."""

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
