"""Load tests on a running stack, over HTTP: seeding, simulated users (Locust), an open-loop driver, and a report."""
