"""Texts of refusals: each 401 of ours says where to go on."""

import ast
from collections.abc import Iterator
from typing import Final

from tests.support.servers import ROOT

_KINDS: Final = frozenset({"Unauthenticated", "InvalidToken"})
_WAYS_ON: Final = ("POST auth/", "POST oauth/token", "write to support", "use another client")


def texts() -> Iterator[tuple[str, str]]:
    """Place and text of each refusal of these kinds; a text that is made elsewhere is its expression."""
    for path in (ROOT / "billing_api").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _KINDS and node.args:
                text = node.args[0]
                said = str(text.value) if isinstance(text, ast.Constant) else ast.unparse(text)
                yield f"{path.relative_to(ROOT)}:{node.lineno}", said


def test_a_401_tells_where_to_go_on() -> None:
    found = list(texts())
    assert len(found) > 10
    written_once = {"SIGNED_OUT", "_FIRST_SIGN_IN"}  # constants, whose texts other tests read
    assert [
        place for place, text in found if text not in written_once and not any(way in text for way in _WAYS_ON)
    ] == []
