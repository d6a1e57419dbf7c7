"""Stand-ins for the partners and people that a devstack cannot have: Stripe, NextPanel, a mail relay.

Each is one process with one port, driven over HTTP alone, so that any client in any language can buy from it, break
it and look at what it received. `serving` runs it, `journal` keeps its state through a `kill -9`, and `stand_in` gives
it the `/_sim` API, which is the same on all of them.
"""
