"""Load on a running stack, over HTTP: seed data, people and panels (Locust), an open-loop driver, and a report."""
