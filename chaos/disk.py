"""Full disk: the stack's data lie on a small tmpfs of their own, where the system allows one.

The stack is started in a mount namespace of its own (`unshare`). From outside, its files are seen through
/proc/<pid>/root. Where no namespace is allowed, the disk cannot be filled, only the logs can (chaos/logs.py).
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_SIZE: Final = 640
"""Megabytes: enough for what PostgreSQL writes in an hour of chaos. A full disk takes as much memory."""
_BLOCK: Final = bytes(1 << 20)


def within(data: Path, argv: Sequence[str], *, megabytes: int = _SIZE) -> tuple[str, ...]:
    """The command that runs `argv` with a small disk of its own at `data`.

    Root keeps its users, because PostgreSQL runs as one of them. Another user becomes root to mount, and itself again.
    """
    mount = f'mount -t tmpfs -o size={megabytes}m,mode=700 chaos "$0" && '
    if os.geteuid() == 0:
        return ("unshare", "--mount", "sh", "-c", mount + 'exec "$@"', str(data), *argv)
    same = f'exec unshare --user --map-user={os.geteuid()} --map-group={os.getegid()} "$@"'
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", mount + same, str(data), *argv)


def allowed() -> bool:
    """Whether this machine and this user may have one."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            tried = subprocess.run(within(Path(folder), ("true",)), capture_output=True, check=False, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return tried.returncode == 0


def seen_from_outside(pid: int, data: Path) -> Path:
    """Where the files of a process with a disk of its own are."""
    return Path(f"/proc/{pid}/root") / data.relative_to("/")


def fill(folder: Path) -> None:
    """Take all room on its disk. It is called again and again, because others give room back."""
    with _filler(folder).open("ab", buffering=0) as filler:
        for block in (_BLOCK, bytes(4096)):
            try:
                while filler.write(block) == len(block):
                    pass
            except OSError:
                continue


def make_room(folder: Path) -> None:
    _filler(folder).unlink(missing_ok=True)


def _filler(folder: Path) -> Path:
    return folder / "filler"
