"""Report of a crash test for a person."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from chaos.judge import CORRECTED
from chaos.plan import Target
from chaos.run import TurnOutcome
from core.counted import counted


def report(outcome: TurnOutcome) -> str:
    return "\n".join(["", *(f"  {name:<34}{value}" for name, value in _rows(outcome)), "", *_verdict(outcome)])


def _rows(outcome: TurnOutcome) -> Iterator[tuple[str, object]]:
    history, setting = outcome.history, outcome.setting
    acknowledged = sum(report.acknowledged_at is not None for report in history.reports)
    abandoned = sum(report.abandoned for report in history.reports)
    tried = sum(len(report.log) for report in history.reports)
    yield "seed, seconds", f"{setting.seed}, {setting.seconds:g}"
    yield "clients", f"{setting.licenses * setting.panels} on {counted(setting.licenses, 'license')}"
    yield "list call", "used" if outcome.lists else "this API has none"
    yield "reports", f"{acknowledged} acknowledged after {counted(tried, 'try')}, {abandoned} abandoned"
    yield "events in PostgreSQL", len(outcome.books.events)
    yield "corrections", sum(event.action == CORRECTED for event in outcome.books.events)
    yield "reported late", f"{outcome.late} not surely within their hold"
    yield (
        "disk filled by",
        "a tmpfs of its own" if outcome.own_disk else "/dev/full, for logs alone: no tmpfs is allowed",
    )
    for target in Target:
        yield f"struck: {target}", outcome.struck[target]
    yield "reservations", _counts(each.code or "unknown" for each in history.reservations)
    for service, outages in outcome.outages.items():
        yield f"{service}: answers", ", ".join(f"{code}: {number}" for code, number in outages.answers.most_common())
        yield f"{service}: away", f"{outages.total:.1f} s in all, {outages.longest:.1f} s at a stretch"


def _counts(codes: Iterable[str]) -> str:
    return ", ".join(f"{code}: {number}" for code, number in Tally(codes).most_common())


def _verdict(outcome: TurnOutcome) -> Iterator[str]:
    yield from map(str, outcome.violations)
    if outcome.violations:
        kinds = _counts(violation.kind for violation in outcome.violations)
        of = outcome.setting
        chosen = (
            f"--seed {of.seed} --seconds {of.seconds:g} --licenses {of.licenses} --panels {of.panels} --ttl {of.ttl:g}"
        )
        replay = f"make chaos ARGS='{chosen}'"
        yield f"FAILED: {counted(len(outcome.violations), 'violation')} ({kinds}); replay: {replay}"
    else:
        yield "PASSED: every acknowledged report counted once, all totals agree, nothing granted beyond its limit"
