"""Activation: license key and one-time token become an API key of this panel's own, which lies in the store.

The request's idempotency key is made of the request itself, so nothing has to be written before it is sent. A panel
that was killed between the answer and the store asks once more, and the service repeats its answer (for seven days).
"""

import asyncio
import hashlib
import json
import logging
from time import monotonic
from typing import Any, Final

from nextpanel_billing_client.answers import Activation, Refused, StoreUnusable, Unreachable, one_of
from nextpanel_billing_client.api_key import Activated, ApiKey, ApiKeys
from nextpanel_billing_client.key import tidy
from nextpanel_billing_client.leases import Leases
from nextpanel_billing_client.transport import Transport

_KNOWN_WITHIN: Final = 5.0
"""Seconds until the validator knows a new API key, and a lease is signed; usually a fraction of one."""
_LOOK_EACH: Final = 0.1
_UNAUTHORIZED: Final = 401

log = logging.getLogger(__name__)


class Activations:
    def __init__(self, keys: ApiKeys, transport: Transport, leases: Leases, billing_url: str) -> None:
        self._keys = keys
        self._transport = transport
        self._leases = leases
        self._url = f"{billing_url}/api/v1/nextpanel/activate"
        self._one_at_a_time = asyncio.Lock()

    async def current(self) -> Activation | None:
        kept = await asyncio.to_thread(self._keys.kept)
        return kept.activation if kept else None

    async def activate(self, license_key: str, activation_token: str, fingerprint: str | None) -> Activation:
        asked = {"license_key": tidy(license_key), "activation_token": activation_token.strip()}
        if fingerprint is not None:
            asked["fingerprint"] = fingerprint
        body = json.dumps(asked, sort_keys=True).encode()
        asked_by = hashlib.sha256(body).hexdigest()
        async with self._one_at_a_time:
            kept = await asyncio.to_thread(self._keys.kept)
            if kept is not None and kept.asked_by == asked_by:
                return kept.activation
            key, activation = await self._transport.post(
                self._url, body, _key_and_activation, idempotency_key=asked_by, signed=False
            )
            await asyncio.to_thread(self._keys.keep, Activated(asked_by, key, activation))
        log.info("activated as instance %s", activation.instance_id)
        await self._until_known(license_key, fingerprint)
        return activation

    async def _until_known(self, license_key: str, fingerprint: str | None) -> None:
        """Waits for the validator to know the key, and for the first lease. The activation stands without both."""
        until = monotonic() + _KNOWN_WITHIN
        while not await self._is_known(license_key, fingerprint) and monotonic() < until:  # noqa: ASYNC110  the service does not call
            await asyncio.sleep(_LOOK_EACH)

    async def _is_known(self, license_key: str, fingerprint: str | None) -> bool:
        """False where the next try may have another result."""
        try:
            await self._leases.fetch(license_key, fingerprint)
        except Unreachable:
            return False
        except Refused as refusal:
            return refusal.status != _UNAUTHORIZED
        except StoreUnusable as fault:
            log.warning("no lease for now: %s", fault)
        return True


def _key_and_activation(answer: dict[str, Any]) -> tuple[ApiKey, Activation]:
    key = ApiKey(one_of(answer["key_id"], str), one_of(answer["secret"], str))
    return key, Activation(
        license_id=one_of(answer["license_id"], str),
        instance_id=one_of(answer["instance_id"], str),
        key_id=key.key_id,
        permissions=tuple(one_of(name, str) for name in one_of(answer["permissions"], list)),
        fingerprint=one_of(answer["fingerprint"], str, type(None)),
    )
