"""API key: what this client signs its calls with. It is given by the program, or lies in the store since an activation.

Other processes may activate anew while this one runs. So a key that the service refuses is looked up once more.
"""

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from nextpanel_billing_client.answers import Activation, NotActivated, StoreUnusable
from nextpanel_billing_client.store import Store

_FACT: Final = "activation"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ApiKey:
    key_id: str
    secret: str = field(repr=False)

    @classmethod
    def given(cls, key_id: str | None, secret: str | None) -> "ApiKey | None":
        """By the program. What was read from a file or a variable may have a line's end on it."""
        if key_id is None and secret is None:
            return None
        key = cls((key_id or "").strip(), (secret or "").strip())
        if not key.key_id or not key.secret:
            raise ValueError("key_id and secret belong together: give both, or none after an activation")
        return key


@dataclass(frozen=True, slots=True)
class Activated:
    """What an activation leaves in the store. `asked_by`: the request that it answers."""

    asked_by: str
    key: ApiKey
    activation: Activation


class ApiKeys:
    def __init__(self, store: Store, given: ApiKey | None) -> None:
        """Reads nothing yet: a fork may follow."""
        self._store = store
        self._is_given = given is not None
        self._key = given

    @property
    def is_given(self) -> bool:
        return self._is_given

    async def current(self) -> ApiKey:
        """Raises NotActivated where there is none."""
        key = self._key or await self._looked_up()
        if key is None:
            raise NotActivated("this client has no API key: call activate(), or give key_id and secret")
        return key

    async def instead_of(self, refused: ApiKey) -> ApiKey | None:
        """The key that another process has stored meanwhile; None, too, where the store cannot be read."""
        try:
            key = await self._looked_up()
        except StoreUnusable as fault:
            log.warning("%s", fault)
            return None
        return None if key == refused else key

    def kept(self) -> Activated | None:
        """Blocks. The activation in the store; None where there is none, or it cannot be read any more."""
        text = self._store.fact(_FACT)
        try:
            return None if text is None else _read(json.loads(text))
        except (ValueError, KeyError, TypeError):
            log.error(  # noqa: TRY400  the exception would quote what is in the store
                "the activation in the store is damaged: activate again, with a new token"
            )
            return None

    def keep(self, activated: Activated) -> None:
        """Blocks. Replaces the activation before, in one step."""
        key, activation = activated.key, activated.activation
        written = {
            "asked_by": activated.asked_by,
            "secret": key.secret,
            "key_id": key.key_id,
            "license_id": activation.license_id,
            "instance_id": activation.instance_id,
            "permissions": activation.permissions,
            "fingerprint": activation.fingerprint,
        }
        self._store.keep_fact(_FACT, json.dumps(written))
        self._key = key

    async def _looked_up(self) -> ApiKey | None:
        if not self._is_given:
            kept = await asyncio.to_thread(self.kept)
            self._key = kept.key if kept else None
        return self._key


def _read(written: dict[str, Any]) -> Activated:
    return Activated(
        written["asked_by"],
        ApiKey(written["key_id"], written["secret"]),
        Activation(
            license_id=written["license_id"],
            instance_id=written["instance_id"],
            key_id=written["key_id"],
            permissions=tuple(written["permissions"]),
            fingerprint=written["fingerprint"],
        ),
    )
