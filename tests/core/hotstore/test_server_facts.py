"""Server facts: what INFO says, and what follows from it."""

from core.hotstore.server_facts import facts_of


def test_a_full_server_is_unfit_for_one_reason_however_full_it_is() -> None:
    """A log that tells each new reason once would otherwise repeat this one."""
    reasons = {facts_of({"maxmemory": 1000, "used_memory": used}).unfit for used in (1000, 1001, 2000)}
    assert len(reasons) == 1
    assert facts_of({"maxmemory": 1000, "used_memory": 999}).unfit is None
    assert facts_of({"maxmemory": 1000, "used_memory": 1100, "mem_not_counted_for_evict": 101}).unfit is None


def test_only_another_policy_evicts() -> None:
    assert facts_of({"maxmemory_policy": "allkeys-lru"}).evicts
    assert not facts_of({"maxmemory_policy": "noeviction", "maxmemory": 1, "used_memory": 2}).evicts
    assert not facts_of({}).evicts
