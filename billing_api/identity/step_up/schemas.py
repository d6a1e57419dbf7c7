"""Schemas of the step-up."""

from billing_api.identity.credentials.schemas import GivenPassword
from billing_api.identity.second_factor.schemas import FactorProof


class StepUp(FactorProof, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An account with a second factor must send that too."""

    password: GivenPassword
