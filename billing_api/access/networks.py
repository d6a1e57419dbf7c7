"""Allowed networks: those that a key or a service account may be used from, as administrators write them."""

from collections.abc import Collection
from typing import Annotated

import msgspec

from core import ip_addresses
from core.errors import FieldError, InvalidInput

NetworkText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Networks = Annotated[
    list[NetworkText],
    msgspec.Meta(
        max_length=ip_addresses.MOST_NETWORKS,
        description="The networks that it may be used from, in CIDR notation. An empty list is any network.",
        examples=[["203.0.113.0/24", "2001:db8:7::/48"]],
    ),
]


def normalized(networks: Collection[str]) -> list[str]:
    """The same networks in their shortest form, each once. InvalidInput names each that is none."""
    found, faults = [], []
    for at, text in enumerate(networks):
        try:
            found.append(ip_addresses.network(text))
        except ValueError as fault:
            expected = {"expected": "CIDR"}
            faults.append(FieldError(f"networks[{at}]", str(fault), "bad_format", expected))
    if faults:
        raise InvalidInput(f"{faults[0].field} {faults[0].detail}", errors=tuple(faults))
    return [str(network) for network in ip_addresses.collapsed(found)]
