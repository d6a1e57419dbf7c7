"""Programs that another user has to run, from a project which that user may be barred from."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from devstack.faults import CannotStart
from devstack.leash import Account, Launch


def within_reach(program: Path, *, root: Path, parts: Sequence[str], shelf: Path, account: Account | None) -> Path:
    """`program` itself, or its copy on `shelf` where `account` cannot run it where it is.

    The copy holds the `parts` of `root`, at the same places below the shelf, so that libraries found relative to the
    program are found there as well. It is made once.
    """
    if account is None or _can_run(program, account):
        return program
    copy = shelf / program.relative_to(root)
    if not copy.exists():
        _copy(root, parts, shelf)
    if not _can_run(copy, account):
        raise CannotStart(f"the user {account.name} can run neither {program} nor {copy}: see their permissions")
    return copy


def _can_run(program: Path, account: Account) -> bool:
    launch = Launch(argv=(str(program), "--version"), cwd=Path("/"), account=account)
    try:
        return subprocess.run(launch.argv, capture_output=True, check=False, **launch.options()).returncode == 0
    except PermissionError:
        return False


def _copy(root: Path, parts: Sequence[str], shelf: Path) -> None:
    """Whole, or not at all: under another name first."""
    unfinished = shelf.with_name(f"{shelf.name}.{os.getpid()}")
    try:
        for part in parts:
            if (root / part).exists():
                shutil.copytree(root / part, unfinished / part)
        for path in (shelf.parent, unfinished, *unfinished.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))  # folders and programs have the x bit
        unfinished.rename(shelf)
    except OSError as fault:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not shelf.exists():  # another start may have been quicker
            raise CannotStart(f"{shelf}, for programs that another user has to run, cannot be made: {fault}") from None
