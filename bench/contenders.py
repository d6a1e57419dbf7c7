"""Contenders: how each is started, and why one may be absent.

Each contender is one working process (helper processes are counted with it), on one core, with the same Redis behind
it.
"""

import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from devstack.ports import choose

HOST: Final = "127.0.0.1"
ROOT: Final = Path(__file__).resolve().parents[1]
_FASTAPI_PACKAGES: Final = ("fastapi>=0.115", "uvicorn[standard]>=0.34", "redis>=5.3,<6")
_NGINX_MODULES: Final = (Path("/usr/lib/nginx/modules"), Path("/usr/share/nginx/modules"))


class Contender(NamedTuple):
    name: str
    argv: tuple[str, ...]
    port: int
    env: Mapping[str, str]


class Absent(NamedTuple):
    name: str
    reason: str


class Place(NamedTuple):
    """The folder and the Redis of a run."""

    folder: Path
    redis_url: str
    redis_port: int
    redis: int
    """The pid of Redis."""
    env: Mapping[str, str]
    """Settings of the validator."""


def validator(place: Place, *, near_cache: bool) -> Contender:
    port = choose(HOST)
    env = {
        **place.env,
        "NP_VALIDATOR_PORT": str(port),
        "NP_VALIDATOR_METRICS_PORT": str(choose(HOST)),
        "NP_VALIDATOR_PROCESSES": "1",
        "NP_NEAR_CACHE": str(near_cache).lower(),
    }
    name = "validator" if near_cache else "validator, near cache off"
    return Contender(name, (sys.executable, "-m", "validator"), port, env)


def litestar(place: Place) -> Contender:
    port = choose(HOST)
    program = str(Path(sys.executable).with_name("granian"))
    argv = (program, "--interface", "asgi", "--loop", "uvloop", "--workers", "1", "--no-access-log")
    address = ("--host", HOST, "--port", str(port), "bench.yardsticks.litestar_app:app")
    return Contender("Litestar + Granian + redis-py", (*argv, *address), port, {"REDIS_URL": place.redis_url})


def fastapi(place: Place, *, hiredis: bool) -> Contender | Absent:
    """FastAPI in an environment of its own, built on the first run: with the packages that its users install.

    There are two: with its default packages, and with the parser in C that redis-py uses where it is installed.
    """
    name = "FastAPI + Uvicorn + redis-py" + (" + hiredis" if hiredis else "")
    packages = (*_FASTAPI_PACKAGES, "hiredis>=3,<4") if hiredis else _FASTAPI_PACKAGES
    python = environment_of(place.folder / ("fastapi-hiredis" if hiredis else "fastapi"), packages, name)
    if isinstance(python, Absent):
        return python
    return uvicorn(name, python, "bench.yardsticks.fastapi_app:app", {"REDIS_URL": place.redis_url})


def environment_of(folder: Path, packages: Sequence[str], name: str) -> Path | Absent:
    """The interpreter of an environment with these packages, built on the first run; it is the same Python as ours."""
    python = folder / "bin" / "python"
    if not (python.parent / "uvicorn").exists() or _version_of(python) != sys.version:
        venv.create(folder, with_pip=True, clear=True)
        install = (str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages)
        done = subprocess.run(install, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
        if done.returncode:
            shutil.rmtree(folder)
            return Absent(name, f"its packages cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return python


def _version_of(python: Path) -> str:
    """The version with compiler and date: two builds of one release differ in speed."""
    asked = (str(python), "-c", "import sys; print(sys.version, end='')")
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout  # noqa: S603  # our own arguments


def uvicorn(name: str, python: Path, app: str, env: Mapping[str, str]) -> Contender:
    port = choose(HOST)
    argv = (str(python), "-m", "uvicorn", app, "--host", HOST, "--port", str(port))
    options = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return Contender(name, (*argv, *options), port, env)


def nginx(place: Place) -> Contender | Absent:
    name = "nginx + LuaJIT + Redis, signature unchecked"
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    modules = next((folder for folder in _NGINX_MODULES if (folder / "ngx_http_lua_module.so").exists()), None)
    if program is None or modules is None:
        return Absent(name, "not installed (Debian: nginx-light and libnginx-mod-http-lua)")
    port = choose(HOST)
    folder = place.folder / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    text = (Path(__file__).with_name("yardsticks") / "nginx.conf").read_text("utf-8")
    places = {"MODULES": modules, "FOLDER": folder, "PORT": port, "REDIS_PORT": place.redis_port}
    for word, value in places.items():
        text = text.replace(f"@{word}@", str(value))
    config = folder / "nginx.conf"
    config.write_text(text, "utf-8")
    return Contender(name, (program, "-c", str(config), "-p", str(folder), "-e", "stderr"), port, {})


def all_of_them(place: Place) -> list[Contender | Absent]:
    return [
        validator(place, near_cache=True),
        validator(place, near_cache=False),
        nginx(place),
        litestar(place),
        fastapi(place, hiredis=True),
        fastapi(place, hiredis=False),
    ]
