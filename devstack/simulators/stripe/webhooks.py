"""Webhook endpoints and the list of events: who is told, and what was told."""

from typing import Final

from stripe.params import (
    EventListParams,
    EventRetrieveParams,
    WebhookEndpointCreateParams,
    WebhookEndpointDeleteParams,
    WebhookEndpointListParams,
    WebhookEndpointRetrieveParams,
    WebhookEndpointUpdateParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe.books import (
    API_VERSION,
    Books,
    Document,
    Params,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    random_text,
)
from devstack.simulators.stripe.errors import invalid
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
EVERYTHING: Final = "*"


def register(books: Books, url: str, events: list[str], secret: str, **members: object) -> Document:
    return books.keep(
        {
            "id": new_id("we"),
            "object": "webhook_endpoint",
            "api_version": API_VERSION,
            "application": None,
            "created": books.now(),
            "description": None,
            "enabled_events": events,
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
            "_secret": secret,
            **members,
        }
    )


def ensure(books: Books, url: str, secret: str) -> None:
    """The endpoint named on the command line: made once, and given its present secret at each start."""
    known = books.all("webhook_endpoint", Where("$.url", url))
    if known:
        books.keep({**known[0], "_secret": secret, "status": "enabled"})
    else:
        register(books, url, [EVERYTHING], secret)


def listening(books: Books, kind: str) -> list[Document]:
    """The endpoints that want events of this kind."""
    enabled = books.all("webhook_endpoint", Where("$.status", "enabled"))
    return [one for one in enabled if {EVERYTHING, kind} & set(one["enabled_events"])]


@OPERATIONS.post("/v1/webhook_endpoints", WebhookEndpointCreateParams)
def create(books: Books, params: Params) -> Document:
    if not params["url"].startswith(("http://", "https://")):
        raise invalid("Invalid URL: An explicit scheme (such as https) must be provided.", "url", "url_invalid")
    secret = f"whsec_{random_text(32)}"
    endpoint = register(
        books,
        params["url"],
        params["enabled_events"],
        secret,
        api_version=params.get("api_version"),
        description=params.get("description"),
        metadata=merge_metadata({}, params.get("metadata", {})),
    )
    return {**endpoint, "secret": secret}  # shown this once


@OPERATIONS.get("/v1/webhook_endpoints", WebhookEndpointListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("webhook_endpoint", "/v1/webhook_endpoints", params)


@OPERATIONS.get("/v1/webhook_endpoints/{endpoint}", WebhookEndpointRetrieveParams)
def retrieve(books: Books, _params: Params, endpoint_id: str) -> Document:
    return books.fetch("webhook_endpoint", endpoint_id)


@OPERATIONS.post("/v1/webhook_endpoints/{endpoint}", WebhookEndpointUpdateParams)
def update(books: Books, params: Params, endpoint_id: str) -> Document:
    endpoint = books.fetch("webhook_endpoint", endpoint_id)
    apply_changes(endpoint, params, "description enabled_events metadata url")
    if "disabled" in params:
        endpoint["status"] = "disabled" if params["disabled"] else "enabled"
    return books.keep(endpoint)


@OPERATIONS.delete("/v1/webhook_endpoints/{endpoint}", WebhookEndpointDeleteParams)
def delete(books: Books, _params: Params, endpoint_id: str) -> Document:
    books.fetch("webhook_endpoint", endpoint_id)
    books.collection("webhook_endpoint").remove(endpoint_id)
    return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}


@OPERATIONS.get("/v1/events", EventListParams)
def list_events(books: Books, params: Params) -> Document:
    chosen = equal(params, "type")
    if "types" not in params:
        return books.page("event", "/v1/events", params, *chosen)
    page = books.page("event", "/v1/events", {**params, "limit": 100}, *chosen)
    page["data"] = [event for event in page["data"] if event["type"] in params["types"]]
    return page


@OPERATIONS.get("/v1/events/{event}", EventRetrieveParams)
def retrieve_event(books: Books, _params: Params, event_id: str) -> Document:
    return books.fetch("event", event_id)
