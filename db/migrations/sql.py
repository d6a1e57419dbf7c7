"""Runs a migration's SQL file, statement by statement, in the migration's own transaction."""

from collections.abc import Iterator
from pathlib import Path

from alembic import op
from sqlalchemy import text

_VERSIONS = Path(__file__).parent / "versions"


def run_file(name: str) -> None:
    for statement in statements((_VERSIONS / name).read_text(encoding="utf-8")):
        op.execute(text(statement.replace(":", r"\:")))


def statements(script: str) -> Iterator[str]:
    """Splits at a `;` that ends a line, outside of `$$` bodies and comments."""
    lines: list[str] = []
    for line in script.splitlines():
        if line.startswith("--"):
            continue
        lines.append(line)
        so_far = "\n".join(lines)
        if line.rstrip().endswith(";") and so_far.count("$$") % 2 == 0:
            yield so_far.strip().rstrip(";")
            lines.clear()
    if "".join(lines).strip():
        raise ValueError(f"the script ends inside a statement: {lines[0]!r}")
