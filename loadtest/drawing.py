"""Draws the licenses of a run: which of N is asked about next.

`even`: each of them is as likely as any other, which is the hardest case for a cache smaller than N.
`zipf`: the k-th most popular is asked about in proportion to 1/k^0.99, the skew of the YCSB benchmark (Cooper et al.,
"Benchmarking Cloud Serving Systems with YCSB", 2010). Of 1,000,000 licenses,
the 20,000 most popular take seven requests in ten.
"""

import random
from array import array
from itertools import accumulate
from typing import Final, Literal, get_args

Spread = Literal["even", "zipf"]
SPREADS: Final[tuple[Spread, ...]] = get_args(Spread)
_SKEW: Final = 0.99


def draw(licenses: int, spread: Spread, count: int, numbers: random.Random) -> "array[int]":
    """`count` places of licenses, from 0 below `licenses`; place 0 is the most popular where popularity differs."""
    everyone = range(licenses)
    if spread == "even":
        return array("I", numbers.choices(everyone, k=count))
    shares = list(accumulate((place + 1) ** -_SKEW for place in everyone))
    return array("I", numbers.choices(everyone, cum_weights=shares, k=count))
