"""Explanations over HTTP, for staff."""

from uuid import UUID

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.operations.customers.explain.schemas import AskWhy, Why
from billing_api.operations.customers.explain.service import Explanations


class AdminExplanationController(Controller):
    path = "/admin/licenses"
    tags = ("admin",)

    @post(
        "/{license_id:uuid}/explain",
        permission=Permission.LICENSES_VIEW,
        status_code=200,
        summary="Why a license is valid or not, as PostgreSQL and as Redis have it",
    )
    async def explain_license(
        self,
        principal: NamedDependency[Principal],
        explanations: NamedDependency[Explanations],
        license_id: FromPath[UUID],
        data: JSONBody[AskWhy],
    ) -> Why:
        """All rules of the verdict, side by side, with the age of each side and the causes of a difference.

        Without Redis the answer has PostgreSQL's side, and `redis.state` says why the other is missing.
        """
        return await explanations.explain(principal, license_id, data)
