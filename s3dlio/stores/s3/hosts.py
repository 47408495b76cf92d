"""The host names of AWS S3 (AWS General Reference, "Amazon S3 endpoints and quotas"; Amazon S3 User Guide, "Making
requests over IPv6", "Transfer Acceleration", "Regional and Zonal endpoints for directory buckets", "Using a
bucket-style alias for your S3 on Outposts bucket access point"); the tests hold them against botocore's endpoint rules.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from s3dlio.errors import ConfigError

#: The region where none is configured.
DEFAULT_REGION = "us-east-1"
#: The domains and names of AWS's partitions, by what their regions begin with; all others are of the first partition.
_PARTITIONS = {
    "cn-": ("amazonaws.com.cn", "aws-cn"),
    "us-gov-": ("amazonaws.com", "aws-us-gov"),
    "eusc-": ("amazonaws.eu", "aws-eusc"),
    "us-iso-": ("c2s.ic.gov", "aws-iso"),
    "us-isob-": ("sc2s.sgov.gov", "aws-iso-b"),
    "us-isof-": ("csp.hci.ic.gov", "aws-iso-f"),
    "eu-isoe-": ("cloud.adc-e.uk", "aws-iso-e"),
}
#: Buckets of S3 Express One Zone, and access points to them: the zone stands in the name.
_DIRECTORY = re.compile(r"[a-z0-9-]+--([a-z0-9]+(?:-[a-z0-9]+)*-[a-z0-9]+)--xa?-s3")
#: The alias of an access point on an Outpost: the kind of hardware, and the Outpost.
_OUTPOST_ALIAS = re.compile(r"[a-z0-9-]*([eo])([a-z0-9-]{17})[a-z0-9-]{25}--op-s3")


_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Variant(NamedTuple):
    """Which of AWS's endpoints: with validated cryptography (FIPS 140), with IPv6 beside IPv4, by way of the nearest
    edge location."""

    fips: bool = False
    dualstack: bool = False
    accelerate: bool = False


PLAIN = Variant()


class Place(NamedTuple):
    """Where the requests for a bucket go, and how they are signed.

    Args:
        url: scheme, host, and port where it is not that of the scheme.
        path: what stands before ``/key``.
        region: the region to sign for, or the set of regions (``*``).
        service: the service to sign for.
        signing: ``keys``: SigV4 with the account's keys; ``session``: with those of a session of the bucket;
            ``asymmetric``: SigV4A.
    """

    url: str
    path: str
    region: str
    service: str = "s3"
    signing: str = "keys"


def aws_endpoint(region: str, variant: Variant = PLAIN) -> str:
    """The endpoint of AWS S3 in a region; that of accelerated transfers is one for all regions of a partition.

    Raises:
        ConfigError: there is none of this kind.
    """
    if not _LABEL.fullmatch(region):  # it becomes part of a host name
        raise ConfigError(f"AWS has no region {region!r}", hint="correct AWS_REGION, or name the endpoint")
    domain = domain_of(region)
    dualstack = "dualstack." if variant.dualstack else ""
    if (variant.fips or variant.accelerate) and region.startswith("cn-"):
        kind = "FIPS" if variant.fips else "accelerated"
        raise ConfigError(f"AWS has no {kind} endpoints in {region}", hint="switch that off for this region")
    if not variant.accelerate:
        return f"https://s3{'-fips' if variant.fips else ''}.{dualstack}{region}.{domain}"
    if variant.fips:
        raise ConfigError(
            "AWS has no endpoint that is accelerated and of FIPS",
            hint="switch off s3.use_accelerate_endpoint or s3.use_fips_endpoint",
        )
    return f"https://s3-accelerate.{dualstack}{domain}"


def domain_of(region: str) -> str:
    """The domain of AWS in a region."""
    return _partition(region)[0]


def partition_of(region: str) -> str:
    """The partition that a region belongs to, as it stands in ARNs."""
    return _partition(region)[1]


def _partition(region: str) -> tuple[str, str]:
    found = (partition for prefix, partition in _PARTITIONS.items() if region.startswith(prefix))
    return next(found, ("amazonaws.com", "aws"))


def zone_of(bucket: str) -> str | None:
    """The zone that stands in the name of a directory bucket (``train--usw2-az1--x-s3``), or of an access point to one;
    None for every other bucket."""
    match = _DIRECTORY.fullmatch(bucket) if bucket.endswith(("--x-s3", "--xa-s3")) else None
    return match[1] if match else None


def kind_of_zone(zone: str) -> tuple[str, str]:
    """The kind of a zone and the redundancy of buckets there, as CreateBucket has them. Zones of a Local Zone have one
    part more in their name."""
    if zone.count("-") > 1:
        return "LocalZone", "SingleLocalZone"
    return "AvailabilityZone", "SingleAvailabilityZone"


def zonal_place(bucket: str, region: str, variant: Variant, endpoint: str | None, *, session: bool) -> Place:
    """Where the objects of a directory bucket are.

    Args:
        bucket: its name, which has a zone.
        region: where it is.
        variant: which of AWS's endpoints.
        endpoint: another service than AWS.
        session: sign with the keys of a session.

    Raises:
        ConfigError: accelerated transfers, which there are not.
    """
    signing = "session" if session else "keys"
    if endpoint is not None:
        return Place(*_at_endpoint(bucket, urlsplit(endpoint)), region, "s3express", signing)
    _no_acceleration(variant, "directory buckets")
    host = f"{bucket}.s3express{'-fips' if variant.fips else ''}-{zone_of(bucket)}"
    return Place(_regional(host, region, variant), "", region, "s3express", signing)


def control_place(bucket: str, region: str, variant: Variant, endpoint: str | None) -> Place:
    """Where directory buckets are made, deleted and listed."""
    if endpoint is not None:
        if not bucket:
            base = urlsplit(endpoint)
            return Place(f"{base.scheme}://{base.netloc}", base.path, region, "s3express")
        return Place(*_at_endpoint(bucket, urlsplit(endpoint)), region, "s3express")
    host = f"s3express-control{'-fips' if variant.fips else ''}"
    return Place(_regional(host, region, variant), f"/{bucket}" if bucket else "", region, "s3express")


def outpost_place(bucket: str, region: str) -> Place | None:
    """Where the alias of an access point on an Outpost leads; None for every other bucket."""
    match = _OUTPOST_ALIAS.fullmatch(bucket) if bucket.endswith("--op-s3") else None
    if match is None:
        return None
    rack = "ec2" if match[1] == "e" else f"op-{match[2]}"
    return Place(f"https://{bucket}.{rack}.s3-outposts.{region}.{domain_of(region)}", "", region, "s3-outposts")


def is_address(host: str) -> bool:
    """Whether a host is an IP address, which cannot have a bucket before it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _at_endpoint(bucket: str, base: SplitResult) -> tuple[str, str]:
    """URL and path of a bucket at another service."""
    if is_address(base.hostname or ""):
        return f"{base.scheme}://{base.netloc}", f"{base.path}/{bucket}"
    return f"{base.scheme}://{bucket}.{base.netloc}", base.path


def _regional(host: str, region: str, variant: Variant) -> str:
    if variant.fips and region.startswith("cn-"):
        raise ConfigError(f"AWS has no FIPS endpoints in {region}", hint="switch that off for this region")
    return f"https://{host}.{'dualstack.' if variant.dualstack else ''}{region}.{domain_of(region)}"


def _no_acceleration(variant: Variant, what: str) -> None:
    if variant.accelerate:
        raise ConfigError(
            f"AWS has no accelerated endpoints for {what}", hint="switch off s3.use_accelerate_endpoint"
        )
