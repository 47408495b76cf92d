"""Where the requests for a bucket go: the one place that knows every kind of bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from s3dlio.stores.s3.access_points import Reach, access_point_place, is_arn
from s3dlio.stores.s3.hosts import Place, aws_endpoint, outpost_place, zonal_place, zone_of

if TYPE_CHECKING:
    from s3dlio.stores.s3.account import S3Account


def place_of(account: S3Account, bucket: str, region: str, *, accelerated: bool = True) -> Place:
    """Where the requests for ``bucket`` go.

    Args:
        account: the service, and what settings and profile say.
        bucket: its name, or the ARN of an access point; empty for the service itself.
        region: where it is.
        accelerated: whether they may go to an accelerated endpoint, which knows only buckets that there are.

    Raises:
        ConfigError: there is no such endpoint, or the name of the bucket cannot be part of its host name.
    """
    chosen = account.settings.s3
    variant = account.variant if bucket and accelerated else account.variant._replace(accelerate=False)
    if is_arn(bucket):
        many, any_region = not chosen.disable_multiregion_access_points, chosen.use_arn_region is not False
        return access_point_place(bucket, Reach(region, variant, account.endpoint_url, any_region, many))
    if zone_of(bucket):
        session = not chosen.disable_express_session_auth
        return zonal_place(bucket, region, variant, account.endpoint_url, session=session)
    if account.is_aws and (outpost := outpost_place(bucket, region)) is not None:
        return outpost
    base = urlsplit(account.endpoint_url or aws_endpoint(region, variant))
    prefix = base.path.rstrip("/")  # gateways live behind one
    if bucket and account.is_virtual(bucket):
        return Place(f"{base.scheme}://{bucket}.{base.netloc}", prefix, region)
    return Place(f"{base.scheme}://{base.netloc}", f"{prefix}/{bucket}" if bucket else prefix, region)
