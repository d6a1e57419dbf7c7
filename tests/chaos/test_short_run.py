"""A few kills of each kind on a real stack. `make chaos` does the same for minutes.

One seed that stays and one that is new each time; what failed can be replayed with the line that is printed.
"""

import secrets

import pytest

from chaos.__main__ import main
from tests.support.servers import slot

FRESH = "a fresh one"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", ["1", FRESH])
def test_kills_lose_nothing_count_nothing_twice_and_grant_nothing_twice(seed: str) -> None:
    chosen = str(secrets.randbelow(1_000_000)) if seed == FRESH else seed
    with slot() as folder:
        (folder / "chaos").mkdir()
        arguments = ["--seed", chosen, "--seconds", "8", "--ttl", "6", "--folder", str(folder / "chaos")]
        assert main(arguments) == 0, f"python -m chaos {' '.join(arguments[:6])}"
