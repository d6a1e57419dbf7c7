"""Report of the API's benchmark: medians of the rounds with their range; ratios and differences within a round."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from bench.api.measuring import Spent
from bench.api.sampling import Samples

_TOP: Final = 25
_LEAST_SHARE: Final = 0.01


def routes_table(rounds: Sequence[Mapping[str, Mapping[str, Spent]]], ours: str) -> str:
    """`rounds`: by route, by contender. The ratio: the contender's CPU time in the API as a multiple of ours."""
    head = f"{'CPU µs a request':26}{'API process':>26}{'PostgreSQL':>11}{'Valkey':>8}"
    rows = [f"{head}{'requests/s':>12}{'p50 ms':>8}{'p99 ms':>8}{'times ours':>20}"]
    for route in rounds[0]:
        for name in rounds[0][route]:
            own = [figures[route][name] for figures in rounds]
            ratios = [figures[route][name].api / figures[route][ours].api for figures in rounds]
            rows.append(
                f"{route:11}{name:15}{_spread([each.api for each in own]):>26}"
                f"{_median(own, 'postgres'):>11.0f}{_median(own, 'redis'):>8.0f}{_median(own, 'per_second'):>12,.0f}"
                f"{_median(own, 'p50_ms'):>8.1f}{_median(own, 'p99_ms'):>8.1f}"
                f"{_spread(ratios, 2) if name != ours else '':>20}"
            )
    return "\n".join(rows)


def layers_table(rounds: Sequence[Mapping[str, Spent]]) -> str:
    """`rounds`: by layer, in the order in which one is put upon the other. Only the last columns are differences."""
    head = f"{'GET licenses, layer by layer, CPU µs':46}{'up to here':>24}{'this layer':>24}"
    rows = [f"{head}{'PostgreSQL':>11}{'Valkey':>8}"]
    below: list[Spent] | None = None
    for name in rounds[0]:
        own = [figures[name] for figures in rounds]
        less = below or [Spent(0, 0, 0, 0, 0, 0)] * len(own)
        added = [each.api - under.api for each, under in zip(own, less, strict=True)]
        postgres = median(each.postgres - under.postgres for each, under in zip(own, less, strict=True))
        redis = median(each.redis - under.redis for each, under in zip(own, less, strict=True))
        rows.append(
            f"{name:46}{_spread([each.api for each in own]):>24}{_spread(added):>24}{postgres:>11.0f}{redis:>8.0f}"
        )
        below = own
    return "\n".join(rows)


def sign_in_line(rounds: Sequence[Spent], hashing: Sequence[float]) -> str:
    shares = [100 * part / whole.api for part, whole in zip(hashing, rounds, strict=True)]
    return (
        f"sign-in: {_spread([each.api for each in rounds])} CPU µs in the API, of which hashing {_spread(shares, 1)} %;"
        f" {_median(rounds, 'postgres'):.0f} in PostgreSQL, {_median(rounds, 'redis'):.0f} in Valkey"
    )


def profile_text(samples: Samples, micros: float) -> str:
    """`micros`: CPU time of the API for one request, which is divided by the shares."""
    rows = [f"{samples.number:,} samples; {micros:,.0f} CPU µs a request", "", f"{'layer':62}{'µs':>8}{'share':>8}"]
    rows += _shares(samples.layers, samples.number, micros, most=None)
    rows += ["", f"{'function, itself':62}{'µs':>8}{'share':>8}"]
    rows += _shares(samples.own, samples.number, micros, most=_TOP)
    rows += ["", f"{'function, with what it calls':62}{'µs':>8}{'share':>8}"]
    rows += _shares(samples.within, samples.number, micros, most=3 * _TOP)
    return "\n".join(rows)


def _shares(counts: Mapping[str, int], number: int, micros: float, *, most: int | None) -> list[str]:
    found = sorted(counts.items(), key=lambda item: -item[1])[:most]
    shares = [(name, count / max(1, number)) for name, count in found]
    return [
        f"{name[-61:]:62}{share * micros:>8.0f}{100 * share:>7.1f}%" for name, share in shares if share >= _LEAST_SHARE
    ]


def _median(values: Sequence[Spent], field: str) -> float:
    return float(median(getattr(each, field) for each in values))


def _spread(values: Sequence[float], digits: int = 0) -> str:
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"
