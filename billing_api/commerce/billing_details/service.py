"""Billing details use cases: read and replace them.

They are stored here, and a job written in the same transaction carries them to the Stripe customer
(customer_mirror.py), so invoices follow even where Stripe is away. The job reads what is stored when it runs: of two
changes in one moment the later one stays.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from billing_api.access.permissions import Principal
from billing_api.commerce.billing_details import repository
from billing_api.commerce.billing_details.places import (
    canonical_tax_id,
    country_fault,
    postal_code_fault,
    state_fault,
    tax_id_fault,
)
from billing_api.commerce.billing_details.schemas import Address, BillingDetails, BillingDetailsGiven, TaxId
from billing_api.identity.credentials import email_address
from core.errors import FieldError, InvalidInput, Unauthenticated
from core.jobs import UpdateStripeCustomer
from db.models.commerce import BillingDetailsRow
from db.unit_of_work import Database


class BillingDetailsService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, principal: Principal) -> BillingDetails:
        """What is stored, or the account's own name and company."""
        async with self._database.as_customer(principal.user_id) as tx:
            row = await repository.stored(tx, principal.user_id)
            if row is not None:
                return _view(row)
            user = await repository.user(tx, principal.user_id)
        if user is None:
            raise Unauthenticated("this account is closed: sign in to another one with POST auth/login")
        return BillingDetails(name=user.full_name, company=user.company_name, address=None, tax_ids=[], email=None)

    async def replace(self, principal: Principal, given: BillingDetailsGiven) -> BillingDetails:
        """InvalidInput names each field that its country does not know in this form."""
        tax_ids = [TaxId(one.type, canonical_tax_id(one.type, one.value)) for one in given.tax_ids]
        if faults := [
            *_email_faults(given.email),
            *_address_faults(given.address),
            *_tax_id_faults(given.address, tax_ids),
        ]:
            told = "; ".join(f"{fault.field} {fault.detail}" for fault in faults)
            raise InvalidInput(told, errors=tuple(faults))
        details = BillingDetails(
            name=given.name, company=given.company, address=given.address, tax_ids=tax_ids, email=given.email
        )
        async with self._database.as_system(principal.user_id) as tx:
            await repository.store(tx, principal.user_id, **_row(details))
            await tx.audit("billing_details.changed", "user", principal.user_id)
            await tx.enqueue(UpdateStripeCustomer(principal.user_id))
        return details


def _faults(given: BillingDetailsGiven, tax_ids: Sequence[TaxId]) -> list[FieldError]:
    return [*_email_faults(given.email), *_address_faults(given.address), *_tax_id_faults(given.address, tax_ids)]


def _email_faults(email: str | None) -> list[FieldError]:
    fault = None if email is None else email_address.fault(email)
    return [FieldError("email", fault)] if fault else []


def _address_faults(address: Address | None) -> list[FieldError]:
    if address is None:
        return []
    told = {
        "address.country": country_fault(address.country),
        "address.state": state_fault(address.country, address.state),
        "address.postal_code": postal_code_fault(address.country, address.postal_code),
    }
    return [FieldError(field, fault) for field, fault in told.items() if fault]


def _tax_id_faults(address: Address | None, tax_ids: Sequence[TaxId]) -> list[FieldError]:
    if tax_ids and address is None:
        return [FieldError("address", "is needed beside a tax id: the country decides which numbers there are")]
    faults = []
    for position, one in enumerate(tax_ids):
        fault = tax_id_fault(address.country, one.type, one.value) if address else None
        if fault:
            faults.append(FieldError(f"tax_ids[{position}].value", fault))
        elif one in tax_ids[:position]:
            faults.append(FieldError(f"tax_ids[{position}].value", "is there twice"))
    return faults


def _row(details: BillingDetails) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(details)
    return values


def _view(row: BillingDetailsRow) -> BillingDetails:
    return BillingDetails(
        name=row.name,
        company=row.company,
        address=msgspec.convert(row.address, Address | None),
        tax_ids=msgspec.convert(row.tax_ids, list[TaxId]),
        email=row.email,
    )
