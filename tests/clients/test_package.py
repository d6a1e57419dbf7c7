"""The package as it is installed: built without a network, whole, and in need of nothing of the service's."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

from tests.support.servers import ROOT

SOURCE: Final = ROOT / "clients" / "python"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds, and nothing else."""
    folder = tmp_path_factory.mktemp("package")
    uv = (
        sys.executable,
        "-m",
        "uv",
        "build",
        "--wheel",
        "--offline",
        "--no-cache",
        "--out-dir",
        folder / "dist",
        SOURCE,
    )
    built = subprocess.run(uv, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_it_holds_every_module_and_its_types(installed: Path) -> None:
    modules = {file.name for file in (SOURCE / "src" / "nextpanel_billing_client").glob("*.py")}
    assert len(modules) >= 8
    assert {file.name for file in (installed / "nextpanel_billing_client").iterdir()} == modules | {"py.typed"}


def test_it_imports_nothing_of_the_service(installed: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import nextpanel_billing_client.client\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    ran = subprocess.run((sys.executable, "-c", code), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert {"nextpanel_billing_client", "httpx", "cryptography", "sqlite3"} <= loaded
    assert not loaded & {"core", "db", "billing_api", "validator", "workers", "msgspec", "redis", "sqlalchemy"}


def test_the_examples_of_the_readme_are_python() -> None:
    examples = re.findall(r"```python\n(.*?)```", (SOURCE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        compile(example, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
