"""Parameters of older API versions, from clients that name no version (the Stripe CLI is one).

Stripe reads such a request at the account's default version. Here it is read at the pinned one, after the few words
that changed their place have been put where they belong now; other unknown parameters are passed over.
"""

from collections.abc import Callable, Mapping
from typing import Final

from devstack.simulators.stripe.forms import Tree


def modern(path: str, tree: Tree) -> Tree:
    change = _CHANGES.get(path)
    return change(dict(tree)) if change else tree


def _promotion(tree: Tree) -> Tree:
    coupon = tree.pop("coupon", None)
    return tree if coupon is None else {**tree, "promotion": {"type": "coupon", "coupon": coupon}}


def _discounts(tree: Tree) -> Tree:
    for name in ("coupon", "promotion_code"):
        if name in tree:
            tree["discounts"] = {"0": {name: tree.pop(name)}}
    return tree


def _priced_item(tree: Tree) -> Tree:
    price = tree.pop("price", None)
    return tree if price is None else {**tree, "pricing": {"price": price}}


_CHANGES: Final[Mapping[str, Callable[[Tree], Tree]]] = {
    "/v1/promotion_codes": _promotion,
    "/v1/subscriptions": _discounts,
    "/v1/invoiceitems": _priced_item,
}
