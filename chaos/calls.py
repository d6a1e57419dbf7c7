"""Signed calls, and the outages that clients see."""

from collections import Counter as Tally
from typing import Any, Final, NamedTuple

import httpx
import msgspec
from typing_extensions import override

from core.clock import unix_time
from core.crypto.signature import HEADER, sign

VALIDATOR: Final = "validator"
API: Final = "billing_api"
PATIENCE: Final = 3.0
_CRASHED: Final = 500


class Answer(NamedTuple):
    status: int
    """0: there was no answer."""
    body: Any
    """The decoded JSON, or a text that says why there is none."""

    @property
    def conclusive(self) -> bool:
        return 0 < self.status < 500

    @override
    def __str__(self) -> str:
        if self.status == 0:
            return f"no answer ({self.body})"
        return f"{self.status} {msgspec.json.encode(self.body).decode()[:300]}"


class Outages:
    """The times at which a service was of no use, as seen by all its clients together."""

    def __init__(self) -> None:
        self.answers: Tally[str] = Tally()
        self.crashes: list[str] = []
        """Answers 500: the service met something it does not handle. No fault from outside is a reason for that."""
        self.longest = 0.0
        self.total = 0.0
        self._since: float | None = None

    def saw(self, answer: Answer, at: float) -> None:
        useful = answer.conclusive
        if answer.status == _CRASHED:
            self.crashes.append(f"{at:.3f} {answer}")
        code = answer.body.get("code", "") if isinstance(answer.body, dict) and not useful else ""
        self.answers[f"{answer.status or 'none'} {code or ('' if answer.status else answer.body)}".strip()] += 1
        if not useful and self._since is None:
            self._since = at
        elif useful and self._since is not None:
            self.end(at)

    def end(self, at: float) -> None:
        """Ends the present outage: the service is of use again, or the run is over."""
        if self._since is not None:
            length, self._since = at - self._since, None
            self.longest = max(self.longest, length)
            self.total += length


class Caller:
    """One platform key, and any number of requests at once."""

    def __init__(self, http: httpx.AsyncClient, urls: dict[str, str], key_id: str, secret: str) -> None:
        self._http = http
        self._urls = urls
        self._key = key_id, secret
        self.outages = {VALIDATOR: Outages(), API: Outages()}

    async def post(
        self, service: str, path: str, content: Any, idempotency_key: str = "", patience: float = PATIENCE
    ) -> Answer:
        """`patience`: seconds after which the connection is dropped; very few of them make a lost answer."""
        body, sent = msgspec.json.encode(content), unix_time()
        signature = sign(*self._key, method="POST", target=path, body=body, now=sent, idempotency_key=idempotency_key)
        headers = {HEADER: signature, "Content-Type": "application/json"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        try:
            response = await self._http.post(
                self._urls[service] + path, content=body, headers=headers, timeout=httpx.Timeout(patience)
            )
            answer = Answer(response.status_code, msgspec.json.decode(response.content))
        except (httpx.HTTPError, OSError, msgspec.DecodeError) as fault:
            answer = Answer(0, type(fault).__name__)
        if patience == PATIENCE:  # a client that does not wait sees no outage
            self.outages[service].saw(answer, sent)
        return answer
