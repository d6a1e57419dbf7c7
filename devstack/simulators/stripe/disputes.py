"""Disputes: a bank takes a payment back, or asks first (an inquiry), and decides by the evidence.

| was | what happens | becomes |
|---|---|---|
| needs_response | evidence is submitted | under_review; won or lost at once by Stripe's words for test mode |
| needs_response, under_review | the bank decides, or the seller gives up (close) | won or lost |
| warning_needs_response | evidence is submitted | warning_under_review; a chargeback where the bank insists |
| warning_… | the charge is refunded, or the bank is content | warning_closed |
| prevented | nothing: the network has settled it before it was a dispute | |

A chargeback takes the money at once, and gives it back if it is won. What the evidence says decides in test mode:
`uncategorized_text` is `winning_evidence`, `losing_evidence` or `escalate_inquiry_evidence`
(https://docs.stripe.com/testing#disputes).
"""

from typing import Final, Literal, get_args

from stripe.params import DisputeCloseParams, DisputeListParams, DisputeRetrieveParams, DisputeUpdateParams

from devstack.simulators.stripe.books import Books, Document, Params, equal, merge_metadata, new_id, nulls
from devstack.simulators.stripe.charges import move_balance
from devstack.simulators.stripe.errors import invalid, not_simulated, wrong_state
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
Kind = Literal["chargeback", "inquiry", "prevented"]
Outcome = Literal["won", "lost", "warning_closed"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_ANSWER_WITHIN: Final = 9 * 24 * 3600
_FEE: Final = 1500
_FIRST: Final[dict[Kind, str]] = {
    "chargeback": "needs_response",
    "inquiry": "warning_needs_response",
    "prevented": "prevented",
}
_OPEN: Final = ("needs_response", "under_review")
_INQUIRING: Final = ("warning_needs_response", "warning_under_review")
_EVIDENCE: Final = (
    "access_activity_log appeal billing_address cancellation_policy cancellation_policy_disclosure"
    " cancellation_rebuttal customer_communication customer_email_address customer_name customer_purchase_ip"
    " customer_signature duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id"
    " product_description receipt refund_policy refund_policy_disclosure refund_refusal_explanation service_date"
    " service_documentation shipping_address shipping_carrier shipping_date shipping_documentation"
    " shipping_tracking_number uncategorized_file uncategorized_text"
)


def begin(books: Books, charge: Document, reason: str, kind: Kind) -> Document:
    """The bank disputes the charge. An inquiry takes no money yet, and a prevented one never does."""
    if charge["disputed"]:
        raise wrong_state(f"Charge {charge['id']} is disputed already.", "charge_disputed")
    now, code = books.now(), "83" if reason == "fraudulent" else "13.1"
    dispute = {
        "id": new_id("du"),
        "object": "dispute",
        "amount": charge["amount_captured"] - charge["amount_refunded"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**nulls(_EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + _ANSWER_WITHIN,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "intended_submission_method": "manual",
        "is_charge_refundable": kind == "inquiry",
        "livemode": False,
        "metadata": {},
        "network_reason_code": code,
        "payment_intent": charge["payment_intent"],
        "payment_method_details": _card_case(charge, kind, code),
        "reason": reason,
        "status": _FIRST[kind],
    }
    charge["disputed"] = True
    books.keep(charge)
    books.emit("charge.dispute.created", books.keep(dispute))
    if kind == "chargeback":
        _withdraw(books, dispute)
    return dispute


def _card_case(charge: Document, kind: Kind, code: str) -> Document:
    brand = charge["payment_method_details"]["card"]["brand"]
    case = {"chargeback": "chargeback", "inquiry": "inquiry", "prevented": "resolution"}[kind]
    return {"card": {"brand": brand, "case_type": case, "network": brand, "network_reason_code": code}, "type": "card"}


def of_charge(books: Books, charge_id: str) -> Document | None:
    """The newest dispute of the charge."""
    found = books.page("dispute", "/v1/disputes", {"limit": 1}, *equal({"charge": charge_id}, "charge"))["data"]
    return found[0] if found else None


def refundable(books: Books, charge: Document) -> bool:
    """A disputed charge is refunded by its bank alone. One that is only asked about may be refunded."""
    dispute = of_charge(books, charge["id"]) if charge["disputed"] else None
    return dispute is None or dispute["is_charge_refundable"] or dispute["status"] == "won"


def refunded_in_full(books: Books, charge_id: str) -> None:
    """An inquiry about the charge has nothing left to ask for."""
    dispute = of_charge(books, charge_id)
    if dispute and dispute["status"] in _INQUIRING:
        decide(books, dispute, "warning_closed")


def decide(books: Books, dispute: Document, outcome: Outcome) -> Document:
    """The dispute is closed. A won one gives the money back that it took."""
    allowed = _INQUIRING if outcome == "warning_closed" else _OPEN
    if dispute["status"] not in allowed:
        raise wrong_state(f"A dispute that is {dispute['status']} cannot become {outcome}.", "dispute_not_open")
    previous = {"status": dispute["status"]}
    dispute["status"] = outcome
    books.emit("charge.dispute.closed", books.keep(dispute), previous)
    if outcome == "won":
        _move(books, dispute, dispute["amount"], 0)
        books.emit("charge.dispute.funds_reinstated", books.keep(dispute))
    return dispute


def _withdraw(books: Books, dispute: Document) -> None:
    _move(books, dispute, -dispute["amount"], _FEE)
    books.emit("charge.dispute.funds_withdrawn", books.keep(dispute))


def _move(books: Books, dispute: Document, amount: int, fee: int) -> None:
    dispute["balance_transactions"].append(move_balance(books, dispute, amount, fee, "adjustment"))


def _escalate(books: Books, dispute: Document) -> None:
    dispute |= {"status": "needs_response", "is_charge_refundable": False}
    dispute["payment_method_details"]["card"]["case_type"] = "chargeback"
    _withdraw(books, dispute)


@OPERATIONS.get("/v1/disputes", DisputeListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("dispute", "/v1/disputes", params, *equal(params, "charge", "payment_intent"))


@OPERATIONS.get("/v1/disputes/{dispute}", DisputeRetrieveParams)
def retrieve(books: Books, _params: Params, dispute_id: str) -> Document:
    return books.fetch("dispute", dispute_id)


@OPERATIONS.post("/v1/disputes/{dispute}", DisputeUpdateParams)
def update(books: Books, params: Params, dispute_id: str) -> Document:
    """Evidence is submitted to the bank unless `submit` is false; then it is only kept."""
    evidence = params.get("evidence") or {}
    not_simulated(params, "intended_submission_method")
    not_simulated(evidence, "appeal enhanced_evidence")
    dispute = books.fetch("dispute", dispute_id)
    if dispute["status"] not in (*_OPEN, *_INQUIRING):
        raise wrong_state(f"This dispute is {dispute['status']} and takes no evidence.", "dispute_not_open")
    previous = {name: dispute[name] for name in ("evidence", "evidence_details", "metadata", "status")}
    dispute["metadata"] = merge_metadata(dispute["metadata"], params.get("metadata", {}))
    dispute["evidence"] = dispute["evidence"] | {name: text or None for name, text in evidence.items()}
    has = any(text for name, text in dispute["evidence"].items() if name != "enhanced_evidence")
    dispute["evidence_details"] = {**dispute["evidence_details"], "has_evidence": has}
    submitted = bool(evidence) and params.get("submit", True)
    if submitted:
        _submit(dispute)
    books.emit("charge.dispute.updated", books.keep(dispute), previous)
    if submitted:
        _judge(books, dispute)
    return dispute


def _submit(dispute: Document) -> None:
    details = dispute["evidence_details"]
    if dispute["status"].endswith("under_review"):
        raise invalid("Evidence for this dispute has been submitted already.", param="evidence")
    details |= {"submission_count": details["submission_count"] + 1, "submission_method": "manual"}
    dispute["status"] = "warning_under_review" if dispute["status"] in _INQUIRING else "under_review"


def _judge(books: Books, dispute: Document) -> None:
    """Test mode: the bank answers at once to Stripe's words."""
    inquiry = dispute["status"] in _INQUIRING
    match dispute["evidence"]["uncategorized_text"]:
        case "winning_evidence":
            decide(books, dispute, "warning_closed" if inquiry else "won")
        case "losing_evidence" if not inquiry:
            decide(books, dispute, "lost")
        case "losing_evidence" | "escalate_inquiry_evidence" if inquiry:
            _escalate(books, dispute)


@OPERATIONS.post("/v1/disputes/{dispute}/close", DisputeCloseParams)
def close(books: Books, _params: Params, dispute_id: str) -> Document:
    """The seller has no evidence and accepts the loss."""
    return decide(books, books.fetch("dispute", dispute_id), "lost")
