"""Readiness is latched, and shared servers have no say in it."""

import msgspec

from core.health import Dependencies, Dependency, Lack, Readiness


def test_a_process_is_ready_once_it_has_reached_what_it_needs_and_stays_so() -> None:
    readiness = Readiness()
    assert readiness.lack is Lack.NOT_YET
    assert msgspec.to_builtins(readiness.told(["redis"])) == {
        "status": "unavailable",
        "reason": "not_yet",
        "lacking": ["redis"],
    }
    readiness.reach()
    assert readiness.lack is None
    assert msgspec.to_builtins(readiness.told(["redis"])) == {"status": "ok"}


def test_a_dead_part_is_named() -> None:
    dead: list[str] = []
    readiness = Readiness(lambda: dead)
    readiness.reach()
    assert readiness.lack is None
    dead.append("relay")
    told = readiness.told()
    assert (told.status, told.reason, told.lacking) == ("unavailable", Lack.DEAD_PART, ["relay"])


def test_a_process_that_drains_is_not_ready_whatever_else() -> None:
    readiness = Readiness(lambda: ["relay"])
    readiness.reach()
    readiness.drain()
    assert readiness.draining
    assert readiness.told().reason is Lack.DRAINING


def test_dependencies_name_what_does_not_serve() -> None:
    fine = Dependencies.of({"postgres": Dependency.OK, "redis": Dependency.OK})
    assert msgspec.to_builtins(fine) == {
        "status": "ok",
        "lacking": [],
        "dependencies": {"postgres": "ok", "redis": "ok"},
    }
    ill = Dependencies.of({"postgres": Dependency.OK, "redis": Dependency.READ_ONLY})
    assert msgspec.to_builtins(ill) == {
        "status": "degraded",
        "lacking": ["redis"],
        "dependencies": {"postgres": "ok", "redis": "read_only"},
    }
