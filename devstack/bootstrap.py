"""Makes .venv hold exactly what requirements.lock says; does nothing, and downloads nothing, when it already does.

Runs on the machine's own Python with nothing but the standard library, before anything is installed. What was installed
is remembered inside .venv, by the lock's content and the Python it was made with. While pip works a mark says so: a run
that was killed leaves it, and the next one begins anew. Two runs at once take turns.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_COMPILER: Final = (
    r"unable to execute|command '[^']*(gcc|cc|clang)[^']*' failed|Python\.h|[Ff]ailed (to build|building)"
)
_NETWORK: Final = (
    r"NewConnectionError|NameResolution|(Connect|Read)Timeout|ProxyError|unreachable|No matching distribution"
)
_EXPLANATIONS: Final = {
    r"ensurepip": "Python's venv module is incomplete: install it (Debian: apt-get install python3-venv)",
    r"No space left on device": "the disk is full: make room, and run it again",
    r"DO NOT MATCH THE HASHES": "a package is not the one that was locked: see above, and do not install it otherwise",
    _COMPILER: "a package could not be compiled: install a C compiler (Debian: apt-get install gcc python3-dev)",
    _NETWORK: "packages cannot be downloaded: check the network, or name an index that can be reached (PIP_INDEX_URL)",
}


class CannotInstall(Exception):
    """One line for the person at the terminal."""


def main(root: Path) -> int:
    try:
        with _turn(root):
            install(root / ".venv", root / "requirements.lock")
    except CannotInstall as fault:
        print(f"make: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make: interrupted; the next run begins the installation anew", file=sys.stderr)
        return 130
    return 0


def install(venv: Path, lock: Path) -> None:
    stamp, unfinished, python = venv / "installed", venv / "unfinished", venv / "bin" / "python"
    made_with = f"{venv}\n{sys.base_prefix} {sys.version}"
    wanted = f"{made_with}\n{hashlib.sha256(lock.read_bytes()).hexdigest()}\n"
    installed = stamp.read_text(encoding="utf-8") if stamp.exists() else ""
    if installed == wanted and os.access(python, os.X_OK):
        return
    # It was moved, which its scripts do not know; or it was made with another Python than is wanted now.
    other = installed != "" and not installed.startswith(made_with)
    if unfinished.exists() or other or not _works(python):
        shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir(exist_ok=True)
    unfinished.touch()
    if not python.exists():
        print(f"making .venv with Python {sys.version.split()[0]}", flush=True)
        _run((sys.executable, "-m", "venv", str(venv)), unfinished)
    print("installing what requirements.lock lists; this happens once", flush=True)
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
    _run((*pip, "--require-hashes", "--no-deps", "--requirement", str(lock)), unfinished)
    stamp.write_text(wanted, encoding="utf-8")
    unfinished.unlink()


def explain(output: str) -> str:
    """What to do about a failed installation that said this."""
    for pattern, explanation in _EXPLANATIONS.items():
        if re.search(pattern, output):
            return explanation
    return "the installation failed, for the reason above; mend it, and run it again"


def _works(python: Path) -> bool:
    """Whether there is an interpreter that starts and has pip: the system's Python may have been replaced below it."""
    try:
        return subprocess.run((str(python), "-c", "import pip"), capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(command: Sequence[str], unfinished: Path) -> None:
    """Run a command and show what it says as it says it. If it fails in good order, the next run may build on it."""
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            said.append(line)
            if not line.startswith("Requirement already satisfied"):
                print(f"  {line}", end="", flush=True)
    if process.returncode:
        if process.returncode > 0:
            unfinished.unlink()
        raise CannotInstall(explain("".join(said)))


@contextmanager
def _turn(root: Path) -> Iterator[None]:
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parent.parent))
