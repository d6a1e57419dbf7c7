from collections.abc import Iterator
from contextlib import closing

import pytest
import stripe

from tests.devstack.simulators.running import Simulator
from tests.devstack.simulators.stripe.receiver import Receiver
from tests.devstack.simulators.stripe.shop import API_KEY, Shop

stripe.enable_telemetry = False


@pytest.fixture(scope="session")
def stripe_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with closing(Simulator("stripe", tmp_path_factory.mktemp("stripe"), "--api-key", API_KEY).start()) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def shop(stripe_simulator: Simulator) -> Iterator[Shop]:
    """Shared by every test that neither kills it nor looks at what others have left in it."""
    with closing(Shop(stripe_simulator)) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as running:
        yield running
