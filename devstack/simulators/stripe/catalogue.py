"""Products and prices. Amounts are integer minor units; a price never changes its amount."""

from decimal import Decimal
from typing import Any

from stripe.params import (
    PriceCreateParams,
    PriceListParams,
    PriceRetrieveParams,
    PriceUpdateParams,
    ProductCreateParams,
    ProductDeleteParams,
    ProductListParams,
    ProductRetrieveParams,
    ProductUpdateParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe import currencies
from devstack.simulators.stripe.amounts import expect_whole
from devstack.simulators.stripe.books import (
    Books,
    Document,
    Params,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    nulls,
)
from devstack.simulators.stripe.errors import invalid
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_PRODUCT_CHANGES = (
    "active default_price description images marketing_features metadata name package_dimensions shippable"
    " statement_descriptor tax_code unit_label url"
)


@OPERATIONS.post("/v1/products", ProductCreateParams)
def create_product(books: Books, params: Params) -> Document:
    if books.find("product", params.get("id", "")):
        raise invalid("Product already exists.", param="id", code="resource_already_exists")
    product = add_product(books, params)
    if "default_price_data" in params:
        price = add_price(books, {**params["default_price_data"], "product": product["id"]})
        product["default_price"] = price["id"]
    return books.keep(product)


def add_product(books: Books, params: Params) -> Document:
    product = {
        "id": params.get("id") or new_id("prod", 14),
        "object": "product",
        **nulls("default_price description package_dimensions shippable statement_descriptor tax_code tax_details"),
        **nulls("unit_label url"),
        "active": True,
        "created": books.now(),
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": params["name"],
        "type": params.get("type", "service"),
        "updated": books.now(),
    }
    apply_changes(product, params, _PRODUCT_CHANGES)
    books.emit("product.created", books.keep(product))
    return product


@OPERATIONS.get("/v1/products", ProductListParams)
def list_products(books: Books, params: Params) -> Document:
    chosen = [Where("$.livemode", value=False), *equal(params, "active", "shippable", "url")]
    page = books.page("product", "/v1/products", params, *chosen)
    if "ids" in params:
        page["data"] = [product for product in page["data"] if product["id"] in params["ids"]]
    return page


@OPERATIONS.get("/v1/products/{product}", ProductRetrieveParams)
def retrieve_product(books: Books, _params: Params, product_id: str) -> Document:
    return books.fetch("product", product_id)


@OPERATIONS.post("/v1/products/{product}", ProductUpdateParams)
def update_product(books: Books, params: Params, product_id: str) -> Document:
    product = books.fetch("product", product_id)
    if params.get("default_price"):
        books.fetch("price", params["default_price"], "default_price")
    previous = apply_changes(product, params, _PRODUCT_CHANGES)
    if previous:
        previous["updated"], product["updated"] = product["updated"], books.now()
        books.emit("product.updated", books.keep(product), previous)
    return product


@OPERATIONS.delete("/v1/products/{product}", ProductDeleteParams)
def delete_product(books: Books, _params: Params, product_id: str) -> Document:
    product = books.fetch("product", product_id)
    if books.all("price", Where("$.product", product_id)):
        raise invalid("This product cannot be deleted because it has one or more user-created prices.")
    books.emit("product.deleted", product)
    return books.keep({"id": product_id, "object": "product", "deleted": True})


@OPERATIONS.post("/v1/prices", PriceCreateParams)
def create_price(books: Books, params: Params) -> Document:
    return add_price(books, params)


def add_price(books: Books, params: Params) -> Document:
    """Also for the `price_data` of checkout and subscriptions, which makes a price on the spot."""
    if "custom_unit_amount" in params or "tiers" in params:
        raise invalid("Only prices of one fixed amount are simulated.", param="unit_amount")
    amount, decimal = _amount(params)
    price = {
        "id": new_id("price"),
        "object": "price",
        **nulls("custom_unit_amount lookup_key nickname tiers_mode transform_quantity"),
        "active": params.get("active", True),
        "billing_scheme": "per_unit",
        "created": books.now(),
        "currency": params["currency"].lower(),
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "nickname": params.get("nickname"),
        "product": _product_of(books, params)["id"],
        "recurring": _recurring(params["recurring"]) if "recurring" in params else None,
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "type": "recurring" if "recurring" in params else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": decimal,
    }
    currencies.keep_options(books, price, params)
    _give_lookup_key(books, price, params)
    books.emit("price.created", books.keep(price))
    return price


def _amount(params: Params) -> tuple[int | None, str]:
    if "unit_amount" in params:
        expect_whole(params["unit_amount"], params["currency"].lower(), "unit_amount")
        return params["unit_amount"], str(params["unit_amount"])
    if "unit_amount_decimal" in params:
        exact = Decimal(params["unit_amount_decimal"])
        return int(exact) if exact == int(exact) else None, format(exact.normalize(), "f")
    raise invalid("Missing required param: unit_amount.", param="unit_amount", code="parameter_missing")


def _product_of(books: Books, params: Params) -> Document:
    if "product" in params:
        return books.fetch("product", params["product"], "product")
    if "product_data" in params:
        return add_product(books, params["product_data"])
    raise invalid("Missing required param: product.", param="product", code="parameter_missing")


def _recurring(wanted: Params) -> Document:
    if wanted.get("usage_type", "licensed") != "licensed":
        raise invalid("Metered prices are not simulated.", param="recurring[usage_type]")
    return {
        "interval": wanted["interval"],
        "interval_count": wanted.get("interval_count", 1),
        "meter": None,
        "trial_period_days": wanted.get("trial_period_days"),
        "usage_type": "licensed",
    }


def _give_lookup_key(books: Books, price: Document, params: Params) -> None:
    key = params.get("lookup_key")
    if not key:
        return
    for holder in books.all("price", Where("$.lookup_key", key)):
        if not params.get("transfer_lookup_key"):
            raise invalid(
                f"A price (`{holder['id']}`) already uses that lookup key.",
                param="lookup_key",
                code="resource_already_exists",
            )
        books.keep({**holder, "lookup_key": None})
    price["lookup_key"] = key


@OPERATIONS.get("/v1/prices", PriceListParams)
def list_prices(books: Books, params: Params) -> Document:
    chosen = equal(params, "active", "currency", "product", "type")
    recurring = params.get("recurring", {})
    chosen += [
        Where(f"$.recurring.{name}", recurring[name]) for name in ("interval", "usage_type") if name in recurring
    ]
    if "lookup_keys" not in params:
        return books.page("price", "/v1/prices", params, *chosen)
    page = books.page("price", "/v1/prices", {**params, "limit": 100}, Where("$.lookup_key", "", ">"), *chosen)
    page["data"] = [price for price in page["data"] if price["lookup_key"] in params["lookup_keys"]]
    return page


@OPERATIONS.get("/v1/prices/{price}", PriceRetrieveParams)
def retrieve_price(books: Books, _params: Params, price_id: str) -> Document:
    return books.fetch("price", price_id)


@OPERATIONS.post("/v1/prices/{price}", PriceUpdateParams)
def update_price(books: Books, params: Params, price_id: str) -> Document:
    price = books.fetch("price", price_id)
    currencies.keep_options(books, price, params)
    before = price["lookup_key"]
    previous = apply_changes(price, params, "active metadata nickname tax_behavior")
    if "lookup_key" in params and params["lookup_key"] != before:
        price["lookup_key"] = None
        _give_lookup_key(books, price, params)
        previous["lookup_key"] = before
    books.keep(price)
    if previous:
        books.emit("price.updated", price, previous)
    return price


def chosen_price(books: Books, item: Params, param: str) -> Document:
    """The price that an item of checkout or of a subscription names or describes."""
    if "price" in item:
        price = books.fetch("price", item["price"], f"{param}[price]")
        if not price["active"]:
            raise invalid("The price specified is inactive. This field only accepts active prices.", f"{param}[price]")
        return price
    if "price_data" in item:
        return add_price(books, item["price_data"])
    raise invalid(f"Missing required param: {param}[price].", param=f"{param}[price]", code="parameter_missing")


def plan_of(price: Document) -> Document:
    """The price in its older clothes, which a subscription item still wears."""
    recurring: dict[str, Any] = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        **nulls("tiers_mode transform_usage"),
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": "licensed",
    }
