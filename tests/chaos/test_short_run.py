"""A short crash test: at least one fault of each kind on a real stack. `make chaos` does the same for minutes.

The seed is a new one each time, and printed: a run that fails can be replayed. Seeds that have found a fault stay.
"""

import secrets

import pytest

from chaos.__main__ import main
from tests.support.secrets_in_use import stack as looked_through
from tests.support.servers import slot

FOUND_A_FAULT: tuple[int, ...] = ()
FRESH = secrets.randbelow(1_000_000)


@pytest.mark.timeout(360)
@pytest.mark.parametrize("seed", [*FOUND_A_FAULT, None])
def test_kills_lose_nothing_count_nothing_twice_and_grant_nothing_twice(seed: int | None) -> None:
    with slot() as folder:
        (folder / "chaos").mkdir()
        chosen = ["--seed", str(FRESH if seed is None else seed), "--seconds", "14", "--ttl", "6"]
        kept = [*chosen, "--folder", str(folder / "chaos"), "--keep"]
        assert main(kept) == 0, f"replay: python -m chaos {' '.join(chosen)}"
        (run,) = (folder / "chaos").iterdir()
        with looked_through(run / "stack"):
            assert list((run / "stack" / "log").glob("*.log"))
