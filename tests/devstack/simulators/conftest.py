"""Simulators as processes: shared ones for tests that only talk, one of its own for a test that kills."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.devstack.simulators.running import Simulator

Start = Callable[..., Simulator]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(name, *flags)`: a fresh simulator with an empty folder, ended with the test."""
    with ExitStack() as running:

        def begin(name: str, *flags: str) -> Simulator:
            return running.enter_context(closing(Simulator(name, tmp_path / name, *flags).start()))

        yield begin


@pytest.fixture(scope="session")
def mail_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with closing(Simulator("mail", tmp_path_factory.mktemp("mail")).start()) as simulator:
        yield simulator
