"""Programs for another user. Only root can have one; an ordinary user's programs stay where they are."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from devstack.faults import CannotStart
from devstack.leash import Account
from devstack.reach import within_reach

PROGRAM = "package/bin/program"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree that only its owner may enter; the program needs its library."""
    program, library = tmp_path / "private" / PROGRAM, tmp_path / "private" / "libs" / "words"
    program.parent.mkdir(parents=True)
    library.parent.mkdir()
    program.write_text('#!/bin/sh\nexec /bin/cat "$(dirname "$0")/../../libs/words"\n')
    library.write_text("1.0\n")
    program.chmod(0o700)
    library.chmod(0o600)
    (tmp_path / "private").chmod(0o700)
    return tmp_path / "private"


@pytest.fixture
def shelf() -> Iterator[Path]:
    with TemporaryDirectory() as folder:  # pytest's own folders are private
        Path(folder).chmod(0o755)  # as /var/cache is
        yield Path(folder) / "shelf" / "package-1.0"


def reach(root: Path, shelf: Path, account: Account | None, parts: tuple[str, ...] = ("package", "libs")) -> Path:
    return within_reach(root / PROGRAM, root=root, parts=parts, shelf=shelf, account=account)


def test_our_own_programs_stay_where_they_are(root: Path, shelf: Path) -> None:
    assert reach(root, shelf, None) == root / PROGRAM
    assert not shelf.exists()


def test_a_program_out_of_reach_is_copied_once_with_what_it_needs(root: Path, shelf: Path) -> None:
    if os.geteuid() != 0:
        assert reach(root, shelf, None) == root / PROGRAM
        return
    nobody = Account.named("nobody")
    copy = reach(root, shelf, nobody)
    assert copy == shelf / PROGRAM
    shown = subprocess.run((copy,), user=nobody.uid, capture_output=True, text=True, check=True)
    assert shown.stdout == "1.0\n"
    made = copy.stat().st_ino
    assert reach(root, shelf, nobody).stat().st_ino == made
    assert [path.name for path in shelf.parent.iterdir()] == ["package-1.0"]


def test_a_copy_that_does_not_work_either_is_refused(root: Path, shelf: Path) -> None:
    if os.geteuid() != 0:
        assert reach(root, shelf, None) == root / PROGRAM
        return
    with pytest.raises(CannotStart, match="can run neither"):
        reach(root, shelf, Account.named("nobody"), parts=("package",))
