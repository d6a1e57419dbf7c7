"""Portal configuration as JSON. It is public: nothing in it is secret or about a person."""

from typing import Annotated, Literal

import msgspec

from billing_api.identity.second_factor.schemas import FactorKind

SignInWay = Literal["password"]


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What this installation offers. Pages for what it does not offer are left out."""

    registration: Annotated[bool, msgspec.Meta(description="Whether strangers may open an account.", examples=[True])]
    sign_in: Annotated[list[SignInWay], msgspec.Meta(description="Ways to sign in.", examples=[["password"]])]
    second_factors: Annotated[
        list[FactorKind],
        msgspec.Meta(description="Factors that an account can add to its password.", examples=[["totp"]]),
    ]
    staff_second_factor: Annotated[
        bool, msgspec.Meta(description="Whether staff need a second factor for their work.", examples=[True])
    ]
    oauth_clients: Annotated[
        bool, msgspec.Meta(description="Whether customers may let programs read their account.", examples=[True])
    ]
    domains: Annotated[bool, msgspec.Meta(description="Whether domain names are sold.", examples=[False])]


class Seller(msgspec.Struct, frozen=True):
    """Who sells. A field is null where the installation does not say it."""

    name: Annotated[str | None, msgspec.Meta(description="The seller's name.", examples=["NextPanel"])]
    support_email: Annotated[
        str | None, msgspec.Meta(description="Where customers write to.", examples=["support@example.com"])
    ]


class PortalConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the portal has to know before anybody signs in."""

    stripe_publishable_key: Annotated[
        str | None,
        msgspec.Meta(
            description="For Stripe.js; null: cards are entered on Stripe's pages alone.", examples=["pk_test_51HxY"]
        ),
    ]
    features: Annotated[Features, msgspec.Meta(description="What is switched on.")]
    seller: Annotated[Seller, msgspec.Meta(description="Who sells.")]
    currencies: Annotated[
        list[str],
        msgspec.Meta(description="Currencies of the plans on sale, ISO 4217 in lower case.", examples=[["usd"]]),
    ]
    locales: Annotated[
        list[str],
        msgspec.Meta(
            description="Languages in which texts and mails exist (BCP 47). A user's own `locale` may be any other, for"
            " dates and numbers.",
            examples=[["en"]],
        ),
    ]
