"""The host names of AWS S3 (AWS General Reference, "Amazon S3 endpoints and quotas"; Amazon S3 User Guide, "Making
requests over IPv6", "Transfer Acceleration"); the tests hold them against botocore's endpoint rules."""

from __future__ import annotations

import re
from typing import NamedTuple

from s3dlio.errors import ConfigError

#: The domains of AWS's partitions, by what their regions begin with; all others are of the first partition.
_DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
)


_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Variant(NamedTuple):
    """Which of AWS's endpoints: with validated cryptography (FIPS 140), with IPv6 beside IPv4, by way of the nearest
    edge location."""

    fips: bool = False
    dualstack: bool = False
    accelerate: bool = False


PLAIN = Variant()


def aws_endpoint(region: str, variant: Variant = PLAIN) -> str:
    """The endpoint of AWS S3 in a region; that of accelerated transfers is one for all regions of a partition.

    Raises:
        ConfigError: there is none of this kind.
    """
    if not _LABEL.fullmatch(region):  # it becomes part of a host name
        raise ConfigError(f"AWS has no region {region!r}", hint="correct AWS_REGION, or name the endpoint")
    domain = next((domain for prefix, domain in _DOMAINS if region.startswith(prefix)), "amazonaws.com")
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
