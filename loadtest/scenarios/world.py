"""World of the simulated users: the running stack, and what was seeded into it."""

import itertools
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from loadtest.seed_files import SeededCustomer, SeedFiles
from loadtest.stack import NoStack, Stack, data_folder, read_stack


class World(NamedTuple):
    stack: Stack
    license_keys: list[str]
    customers: list[SeededCustomer]
    turns: Iterator[SeededCustomer]
    """The customers again and again, so that simulated users are different people as long as there are enough."""


@cache
def world() -> World:
    """Read once a process: Locust makes its users itself, so it cannot be passed to them."""
    data = data_folder()
    files = SeedFiles(data)
    license_keys, customers = files.read_keys(), files.read_customers()
    if not license_keys or not customers:
        raise NoStack(f"nothing is seeded in {files.keys.parent}: run `python -m loadtest.seed` first")
    return World(read_stack(data), license_keys, customers, itertools.cycle(customers))
