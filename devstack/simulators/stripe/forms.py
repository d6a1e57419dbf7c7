"""Stripe's request bodies: `application/x-www-form-urlencoded` with brackets, as nested mappings.

    items[0][price]=price_1&expand[]=customer   →   {"items": {"0": {"price": "price_1"}}, "expand": {"0": "customer"}}

A list is a mapping from positions until `parameters` knows that a list was meant.
"""

import re
from typing import Final
from urllib.parse import parse_qsl

from devstack.simulators.stripe.errors import invalid

Tree = dict[str, "str | Tree"]

_KEY: Final = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")


def parse(encoded: str) -> Tree:
    tree: Tree = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        found = _KEY.match(key)
        if found is None:
            raise invalid(f"Invalid parameter name: {key}", param=key)
        _place(tree, [found[1], *_PART.findall(found[2])], value, key)
    return tree


def _place(tree: Tree, path: list[str], value: str, key: str) -> None:
    *parents, last = path
    for name in parents:
        below = tree.setdefault(name, {})
        if isinstance(below, str):
            raise invalid(f"Invalid parameter: {key} is both a value and a set of values", param=key)
        tree = below
    tree[last or str(len(tree))] = value
