"""Casts: the user classes of each scenario. Their weights say how many users of each class there are."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from locust import User

from loadtest.scenarios.admins import Admin
from loadtest.scenarios.caller import Caller
from loadtest.scenarios.customers import Customer, Newcomer
from loadtest.scenarios.panels import Panel

CASTS: Final[Mapping[str, Sequence[type[Caller]]]] = {
    "fleet": (Panel,),
    "customers": (Customer, Newcomer),
    "admins": (Admin,),
    "mixed": (Panel, Customer, Newcomer, Admin),
}


def cast(scenario: str, tags: Collection[str] = ()) -> list[type[User]]:
    """The classes that have a task with one of these tags."""
    return [who for who in CASTS[scenario] if not tags or any(_tags(each) & set(tags) for each in who.tasks)]


def _tags(each: object) -> set[str]:
    found: set[str] = getattr(each, "locust_tag_set", set())
    return found
