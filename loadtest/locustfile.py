"""Locust file, for Locust's own command line and web page.

    python -m locust -f loadtest/locustfile.py                        all users, with the web page on :8089
    python -m locust -f loadtest/locustfile.py Panel --headless -u 50 -r 10 -t 1m
    python -m locust -f loadtest/locustfile.py --tags validate

NP_DATA names the running stack's folder. `python -m loadtest.run` needs none of this.
"""

from loadtest.scenarios.admins import Admin
from loadtest.scenarios.customers import Customer, Newcomer
from loadtest.scenarios.panels import Panel

__all__ = ("Admin", "Customer", "Newcomer", "Panel")
