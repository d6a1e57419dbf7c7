"""A small Stripe: its API at the version that stripe-python pins, hosted checkout, test cards and signed webhooks.

Read `books` first (what is remembered and how events are told), then `endpoint` (one request from bytes to answer).
Each family of objects has a file. The arrows go one way: operations → settlement → invoices, payments → charges →
books. What it must get right is the shape and order of what a client sees, not how a bank works.
"""
