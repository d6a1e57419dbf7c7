"""Pages that Stripe hosts: checkout, and a bank's 3-D Secure question.

Plain HTML forms, so that a person's browser and any HTTP client can use them alike. The card form is the first form of
the checkout page: `card_number`, `exp` (MM/YY), `cvc`, `name`. A declined card brings the page back with status 402.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from litestar import get, post
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from devstack.simulators.stripe import checkout, promotion_codes, purchase, settlement, setup_intents
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.cards import CardForm
from devstack.simulators.stripe.errors import Refused
from devstack.simulators.stripe.lines import money, rate
from devstack.simulators.stripe.pages import AnyRequest, Page, render, typed_form
from devstack.simulators.stripe.payment_methods import today


def routes(books: Books) -> list[ControllerRouterHandler]:
    return [*_checkout_routes(books), *_bank_routes(books)]


def _checkout_routes(books: Books) -> list[ControllerRouterHandler]:
    @get("/c/pay/{session_id:str}", status_code=200)
    async def show(session_id: str) -> Page:
        return _session_page(books, session_id, lambda session: _card_page(books, session))

    @post("/c/pay/{session_id:str}", status_code=200)
    async def submit(session_id: str, request: AnyRequest) -> Page:
        typed = await typed_form(request)
        return _session_page(books, session_id, lambda session: _submit(books, session, typed))

    @post("/c/pay/{session_id:str}/promotion_code", status_code=200)
    async def redeem(session_id: str, request: AnyRequest) -> Page:
        typed = await typed_form(request)
        return _session_page(books, session_id, lambda session: _redeem(books, session, typed))

    @get("/c/pay/{session_id:str}/confirm", status_code=200)
    async def ask(session_id: str) -> Page:
        return _session_page(books, session_id, lambda session: _ask(books, session))

    @post("/c/pay/{session_id:str}/confirm", status_code=200)
    async def answer(session_id: str, request: AnyRequest) -> Page:
        agreed = (await typed_form(request)).get("result") == "complete"
        return _session_page(books, session_id, lambda session: _answer(books, session, agreed=agreed))

    return [show, submit, redeem, ask, answer]


def _session_page(books: Books, session_id: str, page: Callable[[Document], Page]) -> Page:
    """The page for an open session; a paid one leads on, however often it is asked for, and an expired one says so."""
    with books.journal.transaction():
        try:
            session = checkout.current(books, session_id)
        except Refused:
            return render("message", 404, heading="There is no such checkout", text="The link is not complete, or old.")
        if session["status"] == "complete":
            return Redirect(checkout.return_address(session), status_code=303)
        if session["status"] == "expired":
            back = session["cancel_url"]
            return render("message", 410, heading="This checkout has expired", text="Nothing was charged.", back=back)
        return page(session)


def _submit(books: Books, session: Document, typed: Mapping[str, str]) -> Page:
    def work() -> Document:
        given = [typed.get(name, "") for name in ("card_number", "exp", "cvc")]
        form = CardForm.typed(given[0], given[1], given[2], today(books))
        return purchase.pay(books, session, form, typed)

    outcome = books.carry_out(work)
    if isinstance(outcome, Refused):
        return _card_page(books, session, outcome, typed)
    if outcome["status"] == "open":
        return Redirect(f"{outcome['url']}/confirm", status_code=303)
    return Redirect(checkout.return_address(outcome), status_code=303)


def _redeem(books: Books, session: Document, typed: Mapping[str, str]) -> Page:
    if not session["allow_promotion_codes"]:
        return _card_page(books, session, Refused(400, "This code is invalid."), typed)
    try:
        promotion = promotion_codes.typed_code(books, typed.get("code", ""), checkout.bought(session))
        coupon = promotion["promotion"]["coupon"]
        checkout.reprice(books, session, [{"coupon": coupon, "promotion_code": promotion["id"]}])
        checkout.expect_payable(session)
    except Refused as refusal:
        return _card_page(books, books.fetch("checkout.session", session["id"]), refusal, typed)
    return Redirect(books.keep(session)["url"], status_code=303)


def _ask(books: Books, session: Document) -> Page:
    if not session.get("_awaiting_owner"):
        return _card_page(books, session)
    amount = money(session["amount_total"], session["currency"])
    here = f"{session['url']}/confirm"
    return render("confirm", question=f"A payment of {amount} waits for your confirmation.", here=here)


def _answer(books: Books, session: Document, *, agreed: bool) -> Page:
    if not session.get("_awaiting_owner"):
        return _card_page(books, session)
    outcome = books.carry_out(lambda: purchase.owner_answered(books, session, agreed=agreed))
    if isinstance(outcome, Refused):
        return _card_page(books, session, outcome)
    return Redirect(checkout.return_address(outcome), status_code=303)


def _card_page(
    books: Books, session: Document, refusal: Refused | None = None, typed: Mapping[str, str] | None = None
) -> Page:
    end = checkout.trial_end(books, session)
    recurring = next(
        (item["price"]["recurring"] for item in session["_line_items"] if item["price"]["recurring"]), None
    )
    return render(
        "checkout",
        refusal.status if refusal else 200,
        session=session,
        rates={item["id"]: rate(books, item["price"], session["currency"]) for item in session["_line_items"]},
        here=session["url"],
        total=money(session["amount_total"], session["currency"]),
        each=recurring["interval"] if recurring and not end else None,
        trial_end=datetime.fromtimestamp(end, UTC).strftime("%d %B %Y") if end else None,
        cancel_url=checkout.return_address(session, "cancel_url") if session["cancel_url"] else None,
        ask_country=session["automatic_tax"]["status"] == "requires_location_inputs",
        ask_email=not session["customer"] and not session["customer_email"],
        message=str(refusal) if refusal else None,
        typed=typed or {},
    )


def _bank_routes(books: Books) -> list[ControllerRouterHandler]:
    @get("/3ds/{intent_id:str}", status_code=200)
    async def ask(intent_id: str) -> Page:
        intent = _intent(books, intent_id)
        if intent is None or intent["status"] != "requires_action":
            return _nothing_to_confirm()
        asked = money(intent["amount"], intent["currency"]) if "amount" in intent else "keeping this card for later"
        here = f"{books.public_url}/3ds/{intent_id}"
        return render("confirm", question=f"Do you agree: {asked}?", here=here)

    @post("/3ds/{intent_id:str}", status_code=200)
    async def answer(intent_id: str, request: AnyRequest) -> Page:
        agreed = (await typed_form(request)).get("result") == "complete"
        intent = _intent(books, intent_id)
        if intent is None:
            return _nothing_to_confirm()
        with books.journal.transaction(), books.at(None), books.in_order(settlement.PAYMENT_ORDER):
            if intent["object"] == "payment_intent":
                settlement.owner_answered(books, intent, agreed=agreed)
            else:
                setup_intents.owner_answered(books, intent, agreed=agreed)
        return _back_from_bank(books.fetch(intent["object"], intent_id))

    return [ask, answer]


def _intent(books: Books, intent_id: str) -> Document | None:
    return books.find("payment_intent", intent_id) or books.find("setup_intent", intent_id)


def _nothing_to_confirm() -> Page:
    return render("message", 404, heading="Nothing to confirm", text="This confirmation is not asked for any more.")


def _back_from_bank(intent: Document) -> Page:
    done = intent["status"] in ("succeeded", "requires_capture")
    address = intent.get("_return_url")
    if not address:
        return render("message", heading="Confirmed" if done else "Not confirmed", text="You may close this page.")
    name = intent["object"]
    result = {
        name: intent["id"],
        f"{name}_client_secret": intent["client_secret"],
        "redirect_status": "succeeded" if done else "failed",
    }
    return Redirect(f"{address}{'&' if '?' in address else '?'}{urlencode(result)}", status_code=303)
