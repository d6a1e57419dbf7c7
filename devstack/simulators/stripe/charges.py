"""Charges and the balance transactions behind them: what became of one try to take money."""

from typing import Any

from stripe.params import (
    BalanceTransactionListParams,
    BalanceTransactionRetrieveParams,
    ChargeListParams,
    ChargeRetrieveParams,
    ChargeUpdateParams,
)

from devstack.simulators.stripe.books import Books, Document, Params, apply_changes, equal, new_id, nulls, random_text
from devstack.simulators.stripe.cards import Decline
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_SETTLED_AFTER = 2 * 24 * 3600
_FEE_PERMYRIAD, _FEE_FIXED = 290, 30


def charge(books: Books, intent: Document, method: Document, decline: Decline | None, *, confirmed: bool) -> Document:
    """Try the card for the intent's amount and write down what the issuer said. Tells nobody yet."""
    paid = decline is None
    captured = paid and intent["capture_method"] != "manual"
    document = {
        "id": new_id("ch"),
        "object": "charge",
        **nulls("application application_fee application_fee_amount balance_transaction"),
        **nulls("failure_balance_transaction on_behalf_of receipt_number review shipping source source_transfer"),
        **nulls("statement_descriptor statement_descriptor_suffix transfer_data transfer_group"),
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if captured else 0,
        "amount_refunded": 0,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "NEXTPANEL" if paid else None,
        "captured": captured,
        "created": books.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": intent["metadata"],
        "outcome": _outcome(decline),
        "paid": paid,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": _card_details(intent, method, confirmed=confirmed), "type": "card"},
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_url": f"{books.public_url}/receipts/{intent['id']}" if paid else None,
        "refunded": False,
        "status": "succeeded" if paid else "failed",
    }
    if captured:
        settle(books, document)
    return books.keep(document)


def settle(books: Books, document: Document) -> None:
    """Put a captured charge into the balance, less Stripe's fee."""
    fee = document["amount_captured"] * _FEE_PERMYRIAD // 10_000 + _FEE_FIXED
    transaction = move_balance(books, document, document["amount_captured"], fee, "charge")
    document["balance_transaction"] = transaction["id"]


def move_balance(books: Books, source: Document, amount: int, fee: int, kind: str) -> Document:
    detail = {**nulls("application"), "amount": fee, "currency": source["currency"]}
    return books.keep(
        {
            "id": new_id("txn"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": books.now() + _SETTLED_AFTER,
            "balance_type": "payments",
            "created": books.now(),
            "currency": source["currency"],
            "description": source.get("description"),
            "exchange_rate": None,
            "fee": fee,
            "fee_details": [{**detail, "description": "Stripe processing fees", "type": "stripe_fee"}] if fee else [],
            "net": amount - fee,
            "reporting_category": kind,
            "source": source["id"],
            "status": "pending",
            "type": kind,
        }
    )


def _outcome(decline: Decline | None) -> Document:
    if decline is None:
        words = {"network_status": "approved_by_network", "seller_message": "Payment complete.", "type": "authorized"}
        return {**nulls("advice_code network_advice_code network_decline_code reason"), "risk_level": "normal", **words}
    return {
        "advice_code": decline.advice,
        "network_advice_code": None,
        "network_decline_code": "05",
        "network_status": "declined_by_network",
        "reason": decline.decline_code,
        "risk_level": "normal",
        "seller_message": f"The bank did not accept it: {decline.decline_code}.",
        "type": "issuer_declined",
    }


def _card_details(intent: Document, method: Document, *, confirmed: bool) -> Document:
    card = method["card"]
    shared = "brand checks country exp_month exp_year fingerprint funding last4 regulated_status wallet"
    same: dict[str, Any] = {name: card[name] for name in shared.split()}
    three_d_secure = {
        **nulls("exemption_indicator result_reason"),
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "result": "authenticated",
        "transaction_id": random_text(20),
        "version": "2.2.0",
    }
    return {
        **same,
        **nulls("authorization_code electronic_commerce_indicator installments mandate network_transaction_id"),
        **nulls("transaction_link_id"),
        "amount_authorized": intent["amount"],
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"},
        "multicapture": {"status": "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "three_d_secure": three_d_secure if confirmed else None,
    }


@OPERATIONS.get("/v1/charges", ChargeListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("charge", "/v1/charges", params, *equal(params, "customer", "payment_intent"))


@OPERATIONS.get("/v1/charges/{charge}", ChargeRetrieveParams)
def retrieve(books: Books, _params: Params, charge_id: str) -> Document:
    return books.fetch("charge", charge_id)


@OPERATIONS.post("/v1/charges/{charge}", ChargeUpdateParams)
def update(books: Books, params: Params, charge_id: str) -> Document:
    document = books.fetch("charge", charge_id)
    previous = apply_changes(document, params, "description metadata receipt_email")
    books.keep(document)
    if previous:
        books.emit("charge.updated", document, previous)
    return document


@OPERATIONS.get("/v1/balance_transactions", BalanceTransactionListParams)
def list_transactions(books: Books, params: Params) -> Document:
    chosen = equal(params, "currency", "source", "type")
    return books.page("balance_transaction", "/v1/balance_transactions", params, *chosen)


@OPERATIONS.get("/v1/balance_transactions/{transaction}", BalanceTransactionRetrieveParams)
def retrieve_transaction(books: Books, _params: Params, transaction_id: str) -> Document:
    return books.fetch("balance_transaction", transaction_id)
