"""Recording of secrets: everything that this process seals, hashes or signs, and secrets on the wire.

The rule is broad: everything that our code seals or hashes under a key is a secret, except for the few values listed
here. So a secret that a later version adds is watched without a change here. The wrapped functions do their work as
before; their arguments are recorded as well.
"""

import base64
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import currently_in_test_context
from typing_extensions import override

from billing_api.access.tokens import TokenIssuer
from billing_api.identity.credentials.password_hashing import HashingSlot
from core.crypto.sealing import KeyedHash, Sealer
from core.telemetry import StandardLibraryLines
from tests.support.secrecy import WATCH, Watch

NOT_SECRET: Final = frozenset({"outbox.mail_reset_link"})
"""Sealed, but not secret: an e-mail address."""
NOT_SECRET_KINDS: Final = ("guess_", "device", "license_key_checksum")
"""Hashed, but not secret: addresses and names by which login attempts are counted."""

FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("password", "new_password", "current_password"), "password"),
    **dict.fromkeys(("license_key", "new_license_key"), "license key"),
    **dict.fromkeys(("recovery_code", "recovery_codes"), "recovery code"),
    "secret": "secret shown once",
    "client_secret": "client secret",
    "access_token": "access token",
    "activation_token": "activation token",
    "token": "token of a link",
    "challenge": "sign-in challenge",
    "card_number": "card number",
}
_COOKIES: Final[Mapping[str, str]] = {"np_refresh": "refresh token", "np_device": "device cookie"}
# The functions without any watch: an inner watch replaces an outer one, so a test's own secrets stay in its own watch.
_SEAL, _DIGEST, _SIGN = Sealer.seal, KeyedHash.digest, TokenIssuer._signed
_HASH_PASSWORD, _VERIFY_PASSWORD = HashingSlot.hash, HashingSlot.verify
_SEND, _SEND_ASYNC = httpx.Client.send, httpx.AsyncClient.send
_SETTINGS: Final = ("NP_KEK", "NP_INDEX_KEY", "NP_JWT_KEYS", "NP_AUDIT_KEYS", "NP_LEASE_KEYS")
_WORDS: Final = ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRETS", "NEXTPANEL_JWT_SECRET")
_PAIRS: Final = ("NP_DEMO_ADMIN", "NP_DEMO_CUSTOMER", "NP_DEMO_PLATFORM_KEY")


def learn_settings(env: Mapping[str, str], watch: Watch = WATCH) -> None:
    """The keys of a process that a test describes, in each form in which code might print them."""
    for name in _SETTINGS:
        for key in filter(None, env.get(name, "").split(",")):
            encoded = key.rpartition(":")[2]
            for spelled in (encoded, base64.b64decode(encoded).hex()):
                watch.learn(f"{name} key", spelled)
    for name in _WORDS:
        for word in env.get(name, "").split(","):
            watch.learn(name, word)
    for name in _PAIRS:
        watch.learn(name, env.get(name, "").partition(":")[2])


@contextmanager
def stack(data: Path, watch: Watch = WATCH) -> Iterator[None]:
    """Watches a whole stack in this folder: the secrets of its keyring, and the logs of its parts."""
    with watch.following(data / "log"):
        try:
            yield
        finally:
            file = data / "secrets.json"
            keyring = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            names = {"kek": "NP_KEK", "index_key": "NP_INDEX_KEY", "jwt_keys": "NP_JWT_KEYS"}
            names["audit_keys"] = "NP_AUDIT_KEYS"
            learn_settings({names[name]: word for name, word in keyring.items() if name in names}, watch)
            for name, word in keyring.items():
                if name not in {*names, "platform_key_id"}:
                    watch.learn(f"the stack's {name}", word)


@contextmanager
def noticed(watch: Watch = WATCH) -> Iterator[None]:
    """Watches while the block runs."""
    records = _Records(watch)
    logging.getLogger().addHandler(records)
    with pytest.MonkeyPatch.context() as patch:
        _notice_sealed_and_hashed(patch, watch)
        _notice_tokens_and_passwords(patch, watch)
        _notice_the_wire(patch, watch)
        yield
    logging.getLogger().removeHandler(records)


class _Records(logging.Handler):
    """The standard library's log records, formatted as in production."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self.setFormatter(StandardLibraryLines())

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._watch.hear(f"the log of {record.name}", self.format(record))


def _notice_sealed_and_hashed(patch: pytest.MonkeyPatch, watch: Watch) -> None:
    @wraps(_SEAL)
    def sealing(self: Sealer, secret: bytes, *, context: str) -> bytes:
        if context.startswith("idempotency"):
            _learn_content(watch, secret)  # an answer: its field names say which values are secret
        elif context not in NOT_SECRET and not currently_in_test_context():  # Hypothesis takes examples from our code
            watch.learn(f"sealed {context.partition(':')[0]}", secret)
        return _SEAL(self, secret, context=context)

    @wraps(_DIGEST)
    def hashing(self: KeyedHash, kind: str, value: str) -> bytes:
        if not kind.startswith(NOT_SECRET_KINDS):
            watch.learn(f"hashed {kind}", value.rpartition("\n")[2])  # a recovery code comes after its owner's id
        return _DIGEST(self, kind, value)

    patch.setattr(Sealer, "seal", sealing)
    patch.setattr(KeyedHash, "digest", hashing)


def _notice_tokens_and_passwords(patch: pytest.MonkeyPatch, watch: Watch) -> None:
    @wraps(_SIGN)
    def signing(self: TokenIssuer, *facts: Any) -> str:
        token = _SIGN(self, *facts)
        watch.learn("access token", token)
        return token

    @wraps(_HASH_PASSWORD)
    async def hashing_password(self: HashingSlot, password: str) -> str:
        hashed = await _HASH_PASSWORD(self, password)
        watch.learn("password", password)
        watch.learn("password hash", hashed)
        return hashed

    @wraps(_VERIFY_PASSWORD)
    async def verifying(self: HashingSlot, password: str, password_hash: str | None) -> bool:
        watch.learn("password", password)
        return await _VERIFY_PASSWORD(self, password, password_hash)

    patch.setattr(TokenIssuer, "_signed", signing)
    patch.setattr(HashingSlot, "hash", hashing_password)
    patch.setattr(HashingSlot, "verify", verifying)


def _notice_the_wire(patch: pytest.MonkeyPatch, watch: Watch) -> None:
    """Every httpx client in this process: those of tests, and ours for partners."""

    @wraps(_SEND)
    def sending(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        answer = _SEND(self, request, **options)
        look_at(request, answer, watch)
        return answer

    @wraps(_SEND_ASYNC)
    async def sending_async(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        answer = await _SEND_ASYNC(self, request, **options)
        look_at(request, answer, watch)
        return answer

    patch.setattr(httpx.Client, "send", sending)
    patch.setattr(httpx.AsyncClient, "send", sending_async)


def look_at(request: httpx.Request, answer: httpx.Response, watch: Watch) -> None:
    """Records the secrets of one call, and its body if that is an error document."""
    _learn_headers(watch, request, answer)
    for message in (request, answer):
        content = getattr(message, "_content", b"")  # a streamed body is not read yet
        if message.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            _learn_fields(watch, dict(parse_qsl(content.decode("utf-8", "replace"))))
        else:
            _learn_content(watch, content)
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        where = f"the body of {answer.status_code} to {request.method} {request.url.path}"
        watch.hear(where, getattr(answer, "_content", b"").decode("utf-8", "replace"))


def _learn_headers(watch: Watch, request: httpx.Request, answer: httpx.Response) -> None:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    watch.learn(f"credentials ({scheme})", credentials)
    watch.learn("signature", request.headers.get("np-signature", "").rpartition("v1=")[2])
    watch.learn("token of a link", request.url.params.get("token"))
    for cookie in answer.headers.get_list("set-cookie"):
        name, _, value = cookie.partition(";")[0].partition("=")
        if name in _COOKIES:
            watch.learn(_COOKIES[name], value)


def _learn_content(watch: Watch, content: bytes) -> None:
    if not content.startswith((b"{", b"[")):
        return
    try:
        _learn_fields(watch, json.loads(content))
    except (ValueError, RecursionError):
        return  # sent to be refused


def _learn_fields(watch: Watch, value: Any, kind: str | None = None) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            _learn_fields(watch, part, FIELDS.get(name))
    elif isinstance(value, list):
        for part in value:
            _learn_fields(watch, part, kind)
    elif kind is not None:
        watch.learn(kind, value)
