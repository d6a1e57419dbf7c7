"""Leases, through the real process."""

import json
from typing import Any

import httpx

from core.clock import unix_time
from core.licensing.record import LeaseRecord
from core.licensing.state import Status
from tests.validator.stage import License, Panel, Projection


class TestLeases:
    async def ask(self, panel: Panel, issued: License) -> tuple[int, dict[str, Any]]:
        response = await panel.call("lease", {"license_key": issued.key})
        return response.status_code, response.json()

    async def test_are_handed_out_as_signed(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        lease = LeaseRecord(epoch=1, version=1, not_after=unix_time() + 3600, token="a.b.c")
        await projection.writer.apply_leases([(issued.hash, lease)])
        status, answer = await self.ask(panel, issued)
        assert (status, answer["lease"], answer["code"]) == (200, "a.b.c", "VALID")
        assert answer["not_after"].endswith("Z")

    async def test_of_an_older_state_are_not(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license(version=2)
        status, problem = await self.ask(panel, issued)
        assert (status, problem["conclusive"]) == (503, False)
        lease = LeaseRecord(epoch=1, version=1, not_after=unix_time() + 3600, token="a.b.c")
        await projection.writer.apply_leases([(issued.hash, lease)])
        assert (await self.ask(panel, issued))[0] == 503

    async def test_that_have_run_out_are_not(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        lease = LeaseRecord(epoch=1, version=1, not_after=1.0, token="a.b.c")
        await projection.writer.apply_leases([(issued.hash, lease)])
        assert (await self.ask(panel, issued))[0] == 503

    async def test_are_for_licenses_that_stand(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license(status=Status.SUSPENDED)
        status, answer = await self.ask(panel, issued)
        assert (status, answer["lease"], answer["code"]) == (200, None, "SUSPENDED")

    async def test_are_checked_with_published_keys(self, client: httpx.AsyncClient, projection: Projection) -> None:
        published = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "AA"}]}
        await projection.writer.publish_jwks(json.dumps(published).encode())
        response = await client.get("/.well-known/jwks.json")
        assert response.headers["content-type"] == "application/jwk-set+json"
        assert response.json() == published
