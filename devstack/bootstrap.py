"""Installation: makes .venv hold exactly what requirements.lock says; does nothing if it already does.

It runs on the machine's own Python with nothing but the standard library, before anything is installed. pip installs
uv alone, from its own lines of the lock; uv installs all the rest, several packages at once. What was installed is
remembered inside .venv, by the lock's content and the Python it was made with. While the installation is at work a mark
says so: a run that was killed leaves it, and the next one begins anew. Two runs at once take turns.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_COMPILER: Final = (
    r"unable to execute|command '[^']*(gcc|cc|clang)[^']*' failed|Python\.h|[Ff]ailed (to build|building)"
)
_NETWORK: Final = (
    r"NewConnectionError|NameResolution|(Connect|Read)Timeout|ProxyError|unreachable|No matching distribution"
    r"|dns error|error sending request|[Tt]imed out|Failed to (fetch|download)|no version of|not found in the"
)
_EXPLANATIONS: Final = {
    r"ensurepip": "Python's venv module is incomplete: install it (Debian: apt-get install python3-venv)",
    r"No space left on device": "the disk is full: make room, and run it again",
    r"DO NOT MATCH THE HASHES|Hash mismatch": (
        "a package is not the one that was locked: see above, and do not install it otherwise"
    ),
    _COMPILER: "a package could not be compiled: install a C compiler (Debian: apt-get install gcc python3-dev)",
    _NETWORK: "packages cannot be downloaded: check the network, or name an index that can be reached (PIP_INDEX_URL)",
}
_OF_UV: Final = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
"""pip's settings, and the variables in which uv reads the same."""
_SECTIONS: Final = ("global", "install", ":env:")
"""Of pip's settings, the strongest last."""


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
    # Its scripts contain its old path, or it was made with another Python.
    other = installed != "" and not installed.startswith(made_with)
    if unfinished.exists() or other or not _works(python):
        shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir(exist_ok=True)
    unfinished.touch()
    text = lock.read_text(encoding="utf-8")
    number = len(re.findall(r"^[\w.-]+(\[.*\])?==", text, re.MULTILINE))
    print(
        f"installing {number} packages into .venv (Python {platform.python_version()}); this happens once", flush=True
    )
    if not python.exists():
        _run((sys.executable, "-m", "venv", str(venv)), unfinished)
    own_lines = venv / "uv.txt"
    own_lines.write_text(_lines_of("uv", text), encoding="utf-8")
    same = ("install", "--require-hashes", "--no-deps", "--requirement")
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--no-input")
    _run((*pip, *same, str(own_lines)), unfinished)
    uv = (str(venv / "bin" / "uv"), "pip", *same, str(lock), "--compile-bytecode", "--python", str(python))
    _run(uv, unfinished, settings_of_uv(pip))
    stamp.write_text(wanted, encoding="utf-8")
    unfinished.unlink()


def explain(output: str) -> str:
    """What to do about a failed installation that said this."""
    for pattern, explanation in _EXPLANATIONS.items():
        if re.search(pattern, output):
            return explanation
    return "the installation failed, for the reason above; mend it, and run it again"


def _works(python: Path) -> bool:
    """True for an interpreter that starts and has pip: the system's Python may have been replaced."""
    try:
        return subprocess.run((str(python), "-c", "import pip"), capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _lines_of(package: str, lock: str) -> str:
    """The requirement of one package, with the hashes below it."""
    found = re.search(rf"^{package}==.*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    if found is None:
        raise CannotInstall(f"requirements.lock does not list {package}: make it anew (make lock)")
    return found[0]


def settings_of_uv(pip: Sequence[str]) -> dict[str, str]:
    """The environment for uv, with the settings of pip's files and variables."""
    listed = subprocess.run((*pip, "config", "list"), capture_output=True, text=True, check=False).stdout
    told = {name: value.strip("'") for name, _, value in (line.partition("=") for line in listed.splitlines())}
    given = {
        variable: " ".join(value.replace("\\n", " ").split())
        for section in _SECTIONS
        for setting, variable in _OF_UV.items()
        if (value := told.get(f"{section}.{setting}"))
    }
    if "UV_FIND_LINKS" in given:
        given["UV_FIND_LINKS"] = given["UV_FIND_LINKS"].replace(" ", ",")
    # As pip does: the best version of all indexes. The lock's hashes say which files may be installed.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **given, **os.environ}  # noqa: TID251  core is not there yet


def _run(command: Sequence[str], unfinished: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command. If it fails, show its output; after an orderly failure the next run may build on it."""
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        if done.returncode > 0:
            unfinished.unlink()
        print(textwrap.indent(done.stdout, "  "), end="", flush=True)
        raise CannotInstall(explain(done.stdout))


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
