"""Administrators: they search, look at failures, and suspend licenses and resume them a moment later."""

import random
from typing import Final

from locust import between, tag, task
from typing_extensions import override

from loadtest.scenarios.people import Person

_ILLEGAL_MOVE: Final = 409
_SUSPENDED_SECONDS: Final = 0.5


class Admin(Person):
    weight = 2
    wait_time = between(0.5, 2)

    @override
    def on_start(self) -> None:
        admin = self.world.stack.admin
        self.email, self.password = admin.email, admin.password
        self.sign_in()

    @tag("browse")
    @task(4)
    def search_by_address(self) -> None:
        who = random.choice(self.world.customers)
        self.items(f"/admin/licenses?email={who.email}", name="/admin/licenses?email")

    @tag("browse")
    @task(2)
    def leaf_through(self) -> None:
        page = f"/admin/licenses?status=active&limit=50&offset={random.randrange(0, 500, 50)}"
        for license_ in self.items(page, name="/admin/licenses?status")[:1]:
            self.mine("GET", f"/admin/licenses/{license_['id']}", name="/admin/licenses/:id")

    @tag("browse")
    @task(2)
    def look_at_events(self) -> None:
        self.items("/admin/webhook-events?limit=50", name="/admin/webhook-events")

    @tag("browse")
    @task(2)
    def look_at_jobs(self) -> None:
        self.items(f"/admin/jobs?state={random.choice(('waiting', 'done', 'dead'))}", name="/admin/jobs")

    @tag("suspend")
    @task(3)
    def suspend_and_resume(self) -> None:
        """Two administrators may act on one license; the second one is refused, which is expected."""
        content = {"license_key": random.choice(self.world.license_keys)}
        found = self.mine("POST", "/admin/licenses/find-by-key", content, name="/admin/licenses/find-by-key").body
        for verb in ("suspend", "resume"):
            path = f"/admin/licenses/{found['id']}/{verb}"
            reason = {"reason": "load test"}
            self.mine("POST", path, reason, name=f"/admin/licenses/:id/{verb}", refusals=(_ILLEGAL_MOVE,))
            self.pause(_SUSPENDED_SECONDS)
