"""The installation, on a project as small as can be: one package, made here, found in a folder instead of an index."""

import hashlib
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Final

import pytest

from core.settings import process_environment
from devstack.bootstrap import explain, settings_of_uv
from devstack.waiting import wait_until
from tests.support.servers import ROOT

UV: Final = metadata.version("uv")


class Project:
    """A root with bootstrap.py and a lock, and a shelf with packages."""

    def __init__(self, root: Path, uv: Path) -> None:
        self.root, self.shelf = root / "project", root / "shelf"
        self._uv = uv
        (self.root / "devstack").mkdir(parents=True)
        self.fill_shelf()
        shutil.copy(ROOT / "devstack" / "bootstrap.py", self.root / "devstack")

    def fill_shelf(self) -> None:
        self.shelf.mkdir()
        (self.shelf / self._uv.name).hardlink_to(self._uv)

    def lock(self, version: str, *, spoilt: bool = False) -> None:
        digest = "0" * 64 if spoilt else digest_of(self._wheel(version))
        lines = (
            f"tiny=={version}",
            f"    --hash=sha256:{digest}",
            f"uv=={UV}",
            f"    --hash=sha256:{digest_of(self._uv)}",
        )
        (self.root / "requirements.lock").write_text(" \\\n".join(lines[:2]) + "\n" + " \\\n".join(lines[2:]) + "\n")

    def start(self) -> subprocess.Popen[str]:
        offline = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.shelf)}
        return subprocess.Popen(
            (sys.executable, "devstack/bootstrap.py"),
            cwd=self.root,
            env=process_environment() | offline,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> tuple[int, str]:
        process = self.start()
        said = process.communicate()[0]
        return process.returncode, said

    def installed(self) -> str:
        code = "import tiny; print(tiny.VERSION)"
        shown = subprocess.run((self.root / ".venv/bin/python", "-c", code), capture_output=True, text=True, check=True)
        return shown.stdout.strip()

    def _wheel(self, version: str) -> Path:
        file, facts = self.shelf / f"tiny-{version}-py3-none-any.whl", f"tiny-{version}.dist-info"
        with zipfile.ZipFile(file, "w") as wheel:
            wheel.writestr("tiny.py", f"VERSION = {version!r}\n")
            wheel.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
            wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{facts}/RECORD", "")
        return file


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uv that is installed here, packed again as the wheel that it came from."""
    installed = metadata.distribution("uv")
    tag = next(line[5:] for line in (installed.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: "))
    file = tmp_path_factory.mktemp("uv") / f"uv-{UV}-{tag}.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for part in installed.files or ():
            name = str(part)
            if (
                name.endswith(".pyc")
                or "__pycache__" in name
                or Path(name).name in {"INSTALLER", "REQUESTED", "RECORD"}
            ):
                continue
            scripts = f"uv-{UV}.data/scripts"
            wheel.write(part.locate(), f"{scripts}/{Path(name).name}" if name.startswith("..") else name)
        wheel.writestr(f"uv-{UV}.dist-info/RECORD", "")
    return file


@pytest.fixture
def project(tmp_path: Path, uv: Path) -> Project:
    return Project(tmp_path, uv)


def test_it_installs_once_and_again_when_the_lock_changes(project: Project) -> None:
    project.lock("1.0")
    code, said = project.run()
    assert code == 0, said
    assert said.splitlines() == [f"installing 2 packages into .venv (Python {python_version()}); this happens once"]
    assert project.installed() == "1.0"
    shutil.rmtree(project.shelf)  # nothing can be had from now on, and nothing is wanted
    assert project.run() == (0, "")
    project.fill_shelf()
    project.lock("2.0.1")  # of another length: Python tells compiled files by second and size
    assert project.run()[0] == 0
    assert project.installed() == "2.0.1"


def test_another_python_makes_it_anew(project: Project) -> None:
    project.lock("1.0")
    assert project.run()[0] == 0
    stamp = project.root / ".venv" / "installed"
    stamp.write_text(stamp.read_text().replace(sys.base_prefix, "/opt/another"))
    (project.root / ".venv" / "of_the_other").touch()
    assert project.run()[0] == 0
    assert project.installed() == "1.0"
    assert not (project.root / ".venv" / "of_the_other").exists()


def test_a_killed_installation_is_begun_anew(project: Project) -> None:
    project.lock("1.0")
    process = project.start()
    assert wait_until((project.root / ".venv" / "unfinished").exists, 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (project.root / ".venv" / "half").touch()
    code, said = project.run()
    assert code == 0, said
    assert project.installed() == "1.0"
    assert not (project.root / ".venv" / "half").exists()


def test_what_cannot_be_had_is_told_in_one_line_and_had_the_next_time(project: Project) -> None:
    project.lock("1.0", spoilt=True)
    code, said = project.run()
    assert code == 1
    assert said.splitlines()[-1].startswith("make: packages cannot be downloaded: check the network")
    project.lock("1.0")
    assert project.run()[0] == 0
    assert project.installed() == "1.0"


def test_uv_is_told_what_pip_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://one.test/simple\nextra-index-url =\n  https://two.test\n  https://three.test\n"
        "[install]\nindex-url = https://four.test/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://five.test")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "7")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "60")
    given = settings_of_uv((sys.executable, "-m", "pip"))
    assert given["UV_DEFAULT_INDEX"] == "https://four.test/simple", "what holds for `pip install` alone is stronger"
    assert given["UV_INDEX"] == "https://five.test", "a variable is stronger than a file"
    assert given["UV_HTTP_TIMEOUT"] == "7", "uv's own variables are the strongest"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("The virtual environment was not created because ensurepip is not available.", "apt-get install python3-venv"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "is not the one that was locked"),
        ("Hash mismatch for `tiny==1.0`", "is not the one that was locked"),
        (
            "error: Failed to fetch: `https://index.test/simple/tiny/`\n  dns error: failed to look up",
            "check the network",
        ),
        ("  × Failed to build `tiny==1.0`", "install a C compiler"),
        ("failed to write to file: No space left on device (os error 28)", "the disk is full"),
        ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", "install a C compiler"),
        ("fatal error: Python.h: No such file or directory", "gcc python3-dev"),
        ("NewConnectionError: [Errno -3] Temporary failure in name resolution", "check the network"),
        ("something nobody has seen before", "for the reason above"),
    ],
)
def test_failures_are_explained(said: str, advice: str) -> None:
    assert advice in explain(f"Collecting x\n{said}\nmore\n")
