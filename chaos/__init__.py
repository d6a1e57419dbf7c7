"""Crash test: a real stack under traffic, whose parts are killed and disturbed, and a consistency check of the outcome.

Faults: parts are killed, restarted, frozen or demoted, have a full disk, or lose the reader of their logs
(chaos/plan.py).

It is a package of its own, beside `loadtest`. Load asks how fast, and may import no database and no supervisor. This
asks whether the data are right, and has to start the stack, kill its parts and read both stores. It is no test of one
module either, so it is a command (`make chaos`). `tests/chaos` runs it for a short time, and gives false histories to
the judge.
"""
