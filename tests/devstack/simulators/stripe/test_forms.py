from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe._encode import _api_encode  # the SDK's own encoder, which this must read back
from stripe.params import CustomerCreateParams, SubscriptionCreateParams, SubscriptionUpdateParams

from devstack.simulators.stripe.errors import Refused
from devstack.simulators.stripe.forms import parse
from devstack.simulators.stripe.parameters import decode


def test_brackets_become_structure() -> None:
    assert parse("items[0][price]=p&items[1][price]=q&expand[]=a&expand[]=b&name=x%20y") == {
        "items": {"0": {"price": "p"}, "1": {"price": "q"}},
        "expand": {"0": "a", "1": "b"},
        "name": "x y",
    }


@pytest.mark.parametrize("form", ["[a]=1", "a[b=1", "a]=1", "a[[b]]=1", "a=1&a[b]=2", "a[b]=1&a[b][c]=2"])
def test_what_is_no_structure_is_refused(form: str) -> None:
    with pytest.raises(Refused):
        parse(form)


@given(
    st.dictionaries(st.text("abc", min_size=1), st.text(min_size=1), min_size=1),
    st.lists(st.text(min_size=1), min_size=1),
    st.integers(),
    st.booleans(),
)
def test_what_the_sdk_encodes_is_read_back(
    metadata: dict[str, str], locales: list[str], balance: int, on_session: bool
) -> None:
    customer = {"metadata": metadata, "preferred_locales": locales, "balance": balance}
    encoded = urlencode(list(_api_encode(customer)))
    assert decode(parse(encoded), CustomerCreateParams, lenient=False) == customer
    subscription = {"items": [{"price": "p", "quantity": balance}], "cancel_at_period_end": on_session}
    encoded = urlencode(list(_api_encode(subscription)))
    assert decode(parse(encoded), SubscriptionCreateParams, lenient=False) == subscription


def test_types_are_those_that_are_declared() -> None:
    form = "cancel_at=min_period_end&trial_end=now&default_tax_rates=&items[0][deleted]=true&metadata[a]=5"
    assert decode(parse(form), SubscriptionUpdateParams, lenient=False) == {
        "cancel_at": "min_period_end",
        "trial_end": "now",
        "default_tax_rates": "",
        "items": [{"deleted": True}],
        "metadata": {"a": "5"},
    }
    assert decode(parse("cancel_at=1700000000"), SubscriptionUpdateParams, lenient=False) == {"cancel_at": 1700000000}


def test_the_sdks_own_options_are_no_parameters() -> None:
    with pytest.raises(Refused, match="unknown parameter: idempotency_key"):
        decode(parse("idempotency_key=x"), CustomerCreateParams, lenient=False)


def test_lenience_passes_over_the_unknown_at_every_depth() -> None:
    form = "color=red&invoice_settings[color]=red&name=A"
    assert decode(parse(form), CustomerCreateParams, lenient=True) == {"name": "A", "invoice_settings": {}}
