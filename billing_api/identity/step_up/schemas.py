"""Step-up on the wire."""

from billing_api.identity.credentials.schemas import GivenPassword
from billing_api.identity.second_factor.schemas import FactorProof


class StepUp(FactorProof, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who has a second factor gives it as well."""

    password: GivenPassword
