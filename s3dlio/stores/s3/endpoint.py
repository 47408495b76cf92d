"""The endpoint of an S3 service, and where on it the requests for a bucket go: the one place that knows every kind of
bucket.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from s3dlio.config.endpoints import name_of
from s3dlio.config.sections import S3Settings
from s3dlio.errors import ConfigError
from s3dlio.stores.s3.access_points import Reach, access_point_place, is_arn
from s3dlio.stores.s3.hosts import (
    DEFAULT_REGION,
    Place,
    Variant,
    aws_endpoint,
    control_place,
    outpost_place,
    zonal_place,
    zone_of,
)


class S3Endpoint:
    """The endpoint of one S3 service.

    Args:
        settings: which one.
        named: ``host:port`` of a URI that names its server; it wins over the configured endpoint, unless that is the
            URL of the same server.

    Attributes:
        region: where the buckets are, as long as the service does not say otherwise.
        url: of the endpoint; None for AWS, whose endpoints follow from region and bucket.
        variant: which of AWS's endpoints; where another is configured, that is the one.
        steering: the names of the settings that choose the endpoint.

    Raises:
        ConfigError: AWS has no such endpoint.
    """

    def __init__(self, settings: S3Settings, named: str | None = None) -> None:
        self._s3 = settings
        self.region = settings.region or DEFAULT_REGION
        self.steering = ["http.ca_bundle", "s3.endpoint_url"]
        self.url = settings.endpoint_url.rstrip("/") if settings.endpoint_url else None
        if named and not (self.url and name_of(self.url) == name_of(named)):
            self.steering = ["http.ca_bundle", "s3.tls_ports"]
            port = named.rpartition(":")[2]
            tls = port in {item.strip() for item in settings.tls_ports.split(",")}
            self.url = f"{'https' if tls else 'http'}://{named}"
        elif any(endpoint.startswith("s3://") for endpoint in settings.endpoints):
            self.steering.append("s3.tls_ports")
        self.is_aws = self.url is None
        self.variant = Variant()
        if self.is_aws:
            self.variant = Variant(*map(bool, (
                settings.use_fips_endpoint, settings.use_dualstack_endpoint, settings.use_accelerate_endpoint
            )))  # fmt: skip
            aws_endpoint(self.region, self.variant)  # refuses what there is not

    def place(self, bucket: str, region: str | None = None, *, accelerated: bool = True) -> Place:
        """Where the requests for ``bucket`` go.

        Args:
            bucket: its name, or the ARN of an access point; empty for the service itself.
            region: where it is, if not where the settings say.
            accelerated: whether they may go to an accelerated endpoint, which knows only buckets that there are.

        Raises:
            ConfigError: there is no such endpoint, or the name of the bucket cannot be part of its host name.
        """
        region, chosen = region or self.region, self._s3
        variant = self.variant if bucket and accelerated else self.variant._replace(accelerate=False)
        if is_arn(bucket):
            many, any_region = not chosen.disable_multiregion_access_points, chosen.use_arn_region is not False
            return access_point_place(bucket, Reach(region, variant, self.url, any_region, many))
        if zone_of(bucket):
            session = not chosen.disable_express_session_auth
            return zonal_place(bucket, region, variant, self.url, session=session)
        if self.is_aws and (outpost := outpost_place(bucket, region)) is not None:
            return outpost
        base = urlsplit(self.url or aws_endpoint(region, variant))
        prefix = base.path.rstrip("/")  # gateways live behind one
        if bucket and self.is_virtual(bucket):
            return Place(f"{base.scheme}://{bucket}.{base.netloc}", prefix, region)
        return Place(f"{base.scheme}://{base.netloc}", f"{prefix}/{bucket}" if bucket else prefix, region)

    def control_place(self, bucket: str, region: str | None = None, *, directories: bool) -> Place:
        """Where buckets are made, deleted and (without a name) listed: directory buckets, or all others."""
        region = region or self.region
        if directories:
            return control_place(bucket, region, self.variant, self.url)
        return self.place(bucket, region, accelerated=False)

    def is_virtual(self, bucket: str) -> bool:
        """Whether the bucket stands in the host name instead of the path.

        Raises:
            ConfigError: it would have to, for accelerated transfers, and cannot.
        """
        style = self._s3.addressing
        dns_name = bucket == bucket.lower() and "_" not in bucket and 3 <= len(bucket) <= 63
        # A dot in the bucket's name would leave the certificate's wildcard (*.s3.amazonaws.com).
        fits = dns_name and "." not in bucket
        if self.variant.accelerate:
            if not fits:
                raise ConfigError(
                    f"the name of the bucket {bucket!r} cannot be part of a host name, as acceleration needs it",
                    hint="switch off s3.use_accelerate_endpoint",
                )
            return True
        if style in ("path", "virtual"):
            return style == "virtual"
        return self.is_aws and fits
