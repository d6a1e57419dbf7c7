"""The crash test: a real stack under traffic, struck again and again, and a judge over what is left.

Struck: killed, restarted, frozen, demoted, with a full disk, and without a reader of its logs (chaos/plan.py).

A package of its own, beside `loadtest` and not in it: load tests ask how fast, without database and supervisor.
This asks whether it is true, and has to start the stack, kill its parts and read both stores. It is no test of one
module either, so it is a command (`make chaos`), of which `tests/chaos` runs a short turn and puts false histories
before the judge.
"""
