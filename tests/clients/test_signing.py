"""The client's own signer, held to the vectors that everybody's client can be held to."""

import json
from typing import Any, Final

import pytest
from nextpanel_billing_client.signing import sign

from core.crypto import signature
from tests.support.servers import ROOT

VECTORS: Final = json.loads((ROOT / "docs" / "signature-vectors.json").read_text(encoding="utf-8"))["accepted_if"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_vectors(vector: dict[str, Any]) -> None:
    header = sign(
        vector["key_id"],
        vector["secret"],
        method=vector["method"],
        target=vector["target"],
        body=vector["body"].encode(),
        now=vector["t"],
        idempotency_key=vector["idempotency_key"],
        nonce=vector["nonce"],
    )
    assert header == vector["header"]


def test_every_signature_is_another() -> None:
    headers = {sign("k", "s", target="/", body=b"", now=1_800_000_000.9) for _ in range(100)}
    assert len(headers) == 100
    for header in headers:
        parsed = signature.parse(header.encode())
        assert isinstance(parsed, signature.Signature)
        assert parsed.t == b"1800000000"
