"""Licensing rules, pure: key, states, plan, verdict, lease. No I/O and no clock: `now` is passed in."""
