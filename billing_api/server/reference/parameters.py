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
    "plan_id": _Known("The plan's id.", fields.PLAN),
    "coupon_id": _Known("The coupon's id at Stripe.", "019ab3f9-5a11-7c21-9d31-1f5b6a7c8d31"),
    "promotion_code_id": _Known("The promotion code's id at Stripe.", "promo_1RAx2LkJqp"),
    "method_id": _Known("The card's id at Stripe.", "pm_1RAx2LkJqp"),
    "setup_id": _Known("The setup's id at Stripe.", "seti_1RAx2LkJqp"),
    "subscription_id": _Known("The subscription's id.", fields.SUBSCRIPTION),
    "invoice_id": _Known("The invoice's id.", fields.INVOICE),
    "payment_id": _Known("The payment's id.", fields.PAYMENT),
    "dispute_id": _Known("The dispute's id.", fields.DISPUTE),
    "session_id": _Known("The session's id.", fields.SESSION),
    "client_id": _Known("The OAuth client's id.", fields.CLIENT),
    "api_key_id": _Known("The API key's `id` (not its `key_id`, which signs).", fields.API_KEY),
    "user_id": _Known("The user's id.", fields.USER),
    "note_id": _Known("The note's id.", fields.NOTE),
    "event_id": _Known("The event's id with us (not Stripe's).", fields.EVENT),
    "run_id": _Known("The id of the comparison.", fields.RUN),
    "service_account_id": _Known("The service account's `id` (not its `client_id`).", fields.SERVICE_ACCOUNT),
    "job_id": _Known("The job's number.", fields.JOB),
}


def describe_parameters(operation: dict[str, Any], own_key: str | None) -> None:
    """Adds what the handler does not say of its parameters. `own_key`: of a header Idempotency-Key that it reads."""
    if own_key is not None:
        key = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}}
        operation["parameters"] = [{**key, "description": own_key}, *operation.get("parameters", ())]
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
        if parameter["name"] == "Idempotency-Key":
            parameter.setdefault("example", "order-2026-11-22-1")
        known = _IN_PATHS.get(parameter["name"])
        if known is not None and parameter["in"] == "path":
            parameter.setdefault("description", known.text)
            parameter.setdefault("example", known.example)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is there or not; no client can send null in a URL or a header."""
    if "null" in schema.get("type", ()):  # an enumeration
        kinds = [kind for kind in schema["type"] if kind != "null"]
        return schema | {"type": kinds[0], "enum": [value for value in schema["enum"] if value is not None]}
    members = [member for member in schema.get("oneOf", ()) if member != {"type": "null"}]
    if len(members) != 1:
        return schema
    only: dict[str, Any] = members[0]
    return only | {name: value for name, value in schema.items() if name != "oneOf"}
