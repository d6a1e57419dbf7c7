"""The public keys of leases over HTTP; the wire is core.crypto.lease.JwkSet (RFC 7517)."""

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
    summary="The keys that leases are checked with",
)
async def published_keys(lease_keys: NamedDependency[LeaseKeys]) -> JwkSet:
    """A lease that names a key which is not here yet: ask again, past any cache."""
    return await lease_keys.published()
