"""JWK set (RFC 7517): the route that publishes the public keys of leases; its schema is core.crypto.lease.JwkSet."""

from litestar import get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency

from billing_api.access.permissions import Permission
from billing_api.licensing.leases.service import LeaseKeys
from core.crypto.lease import JwkSet


@get(
    "/.well-known/jwks.json",
    permission=Permission.PUBLIC,
    media_type="application/jwk-set+json",
    cache_control=CacheControlHeader(public=True, max_age=300),
    tags=["nextpanel"],
)
async def get_lease_keys(lease_keys: NamedDependency[LeaseKeys]) -> JwkSet:
    """Read the public keys of leases.

    A JWK set (RFC 7517). If a lease names a key that is not in the set, read the set again without a cache.
    """
    return await lease_keys.published()
