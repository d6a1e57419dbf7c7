"""The signature on every call: profile NPv1, as docs/signature-vectors.json of the billing project shows it."""

import hashlib
import hmac
import secrets


def sign(
    key_id: str,
    secret: str,
    *,
    target: str,
    body: bytes,
    now: float,
    method: str = "POST",
    idempotency_key: str = "",
    nonce: str | None = None,
) -> str:
    """The value of the header NP-Signature; `target` is the path with its query, as it stands in the request line."""
    t, nonce = str(int(now)), nonce or secrets.token_hex(16)
    lines = ("NPv1", method, target, t, nonce, idempotency_key, hashlib.sha256(body).hexdigest())
    v1 = hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()
    return f"k={key_id},t={t},n={nonce},v1={v1}"
