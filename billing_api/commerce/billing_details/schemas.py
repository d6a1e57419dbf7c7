"""Billing details on the wire."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from billing_api.commerce.billing_details.places import country_fault
from billing_api.identity.credentials.schemas import ChosenEmail
from billing_api.web import fields
from billing_api.web.parameters import PersonName
from core.field_errors import FORM, JUDGE

_MOST_TAX_IDS = 5


Line = Annotated[str, Meta(min_length=1, max_length=200)]
TaxIdType = Literal["au_abn", "ca_bn", "ch_vat", "eu_vat", "gb_vat", "in_gst", "jp_cn", "no_vat", "nz_gst", "us_ein"]


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the customer is, for invoices and for tax."""

    line1: Annotated[Line, Meta(description="Street and number.", examples=["Hauptstr. 1"])]
    line2: Annotated[Line | None, Meta(description="More of it, or null.", examples=[None])] = None
    city: Annotated[Line, Meta(description="City.", examples=["Wien"])]
    state: Annotated[
        Line | None, Meta(description="State or province; needed in AU, BR, CA, IN and US.", examples=[None])
    ] = None
    postal_code: Annotated[
        Annotated[str, Meta(min_length=1, max_length=20)] | None,
        Meta(description="Postal code, in the country's form.", examples=["1010"]),
    ] = None
    country: Annotated[
        str,
        Meta(
            pattern=r"^[A-Z]{2}(?![\s\S])",
            description="The country, by ISO 3166-1.",
            examples=["AT"],
            extra={FORM: "two capital letters such as DE", JUDGE: country_fault},
        ),
    ]


class TaxId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number under which a tax office knows the customer."""

    type: Annotated[TaxIdType, Meta(description="Which kind of number it is, by Stripe's names.", examples=["eu_vat"])]
    value: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=40,
            description="The number, with its country's letters.",
            examples=["ATU12345678"],
        ),
    ]


class BillingDetailsGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The details as they shall be from now on; what is left out is removed."""

    name: Annotated[PersonName, Meta(description="To whom invoices are made out.", examples=["Ada Lovelace"])]
    company: Annotated[
        PersonName | None, Meta(description="The company, or null.", examples=["Analytical Engines Ltd"])
    ] = None
    address: Annotated[Address | None, Meta(description="Needed where tax is charged; else it may be null.")] = None
    tax_ids: Annotated[
        list[TaxId], Meta(max_length=_MOST_TAX_IDS, description="Shown on invoices; they decide about tax.")
    ] = []
    email: Annotated[
        ChosenEmail | None,
        Meta(
            description="Where receipts, invoices and notices of renewal go; null: to the account's own address.",
            examples=["books@example.com"],
        ),
    ] = None


class BillingDetails(msgspec.Struct, frozen=True, kw_only=True):
    """To whom invoices are made out, and where they go."""

    name: Annotated[str, Meta(description="To whom invoices are made out.", examples=["Ada Lovelace"])]
    company: Annotated[str | None, Meta(description="The company, or null.", examples=["Analytical Engines Ltd"])]
    address: Annotated[Address | None, Meta(description="The address, or null.")]
    tax_ids: Annotated[list[TaxId], Meta(description="The numbers that invoices show.")]
    email: Annotated[
        str | None,
        Meta(description="Where mails about money go; null: to the account's own address.", examples=[fields.EMAIL]),
    ]
