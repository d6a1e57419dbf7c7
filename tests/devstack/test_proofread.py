"""What must not be committed, and what is only listed."""

import subprocess
from pathlib import Path

import pytest

from devstack.proofread import faults, long_places, main

HOST = "https://py" + "pi.org/simple"
PLACE = "/ro" + "ot/project/file"


@pytest.mark.parametrize("line", [HOST, f"see {PLACE}", "cd /ho" + "me/me", f'"{PLACE}"'])
def test_hosts_and_paths_of_one_machine_are_faults(line: str) -> None:
    assert [fault.split(":")[:2] for fault in faults("docs/a.md", f"fine\n{line}\n")] == [["docs/a.md", "2"]]


@pytest.mark.parametrize(
    "line", ["/api/v1/work", "$HOME/work/x", "./root/x", "https://example.com/home/page", "/var/cache/x"]
)
def test_other_paths_are_not(line: str) -> None:
    assert list(faults("docs/a.md", line)) == []


def test_long_files_and_functions_are_listed() -> None:
    body = "".join(f"    x = {number}\n" for number in range(40))
    assert list(long_places("core/a.py", f"def short():\n{body[:20]}\n")) == []
    assert list(long_places("core/a.py", f"def long():\n{body}")) == ["core/a.py:1: long has 41 lines"]
    assert list(long_places("core/a.py", "\n" * 301)) == ["core/a.py: 301 lines"]
    assert list(long_places("tests/a.py", "\n" * 301)) == []


def test_only_faults_fail_and_ignored_files_are_not_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run(("git", "init", "-q", tmp_path), check=True)
    (tmp_path / ".gitignore").write_text("private\n")
    (tmp_path / "private").write_text(HOST)
    (tmp_path / "picture").write_bytes(b"\xff\xfe")
    (tmp_path / "long.py").write_text("\n" * 301)
    assert main(tmp_path) == 0
    assert "long.py: 301 lines" in capfd.readouterr().out
    (tmp_path / "new.md").write_text(HOST)
    assert main(tmp_path) == 1
    assert "new.md:1: a package registry's host" in capfd.readouterr().err
