"""Parameters: texts and examples of those that mean the same at every route, by their names.

A query parameter of one route is described at its handler (`QueryParameter(description=...)`).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from billing_api.web import fields


class _Known(NamedTuple):
    text: str
    example: Any


_IN_PATHS: Final[Mapping[str, _Known]] = {
    "license_id": _Known("The license's id.", fields.LICENSE),
    "subscription_id": _Known("The subscription's id.", fields.SUBSCRIPTION),
    "invoice_id": _Known("The invoice's id.", fields.INVOICE),
    "payment_id": _Known("The payment's id.", fields.PAYMENT),
    "session_id": _Known("The session's id.", fields.SESSION),
    "client_id": _Known("The OAuth client's id.", fields.CLIENT),
    "api_key_id": _Known("The API key's `id` (not its `key_id`, which signs).", fields.API_KEY),
    "user_id": _Known("The user's id.", fields.USER),
    "note_id": _Known("The note's id.", fields.NOTE),
    "event_id": _Known("The event's id with us (not Stripe's).", fields.EVENT),
    "run_id": _Known("The id of the comparison.", fields.RUN),
    "job_id": _Known("The job's number.", fields.JOB),
}


def describe_parameters(operation: dict[str, Any]) -> None:
    """Adds what the handler does not say of its path's parameters."""
    for parameter in operation.get("parameters", ()):
        known = _IN_PATHS.get(parameter["name"])
        if known is not None and parameter["in"] == "path":
            parameter.setdefault("description", known.text)
            parameter.setdefault("example", known.example)
