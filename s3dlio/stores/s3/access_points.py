"""Access points by their ARN: where their requests go, and how they are signed (Amazon S3 User Guide, "Referencing
access points", "Multi-Region Access Point routing and requests", "Using Amazon S3 on Outposts access points", "Object
Lambda Access Points"). The tests hold it against botocore's endpoint rules.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from s3dlio.errors import ConfigError
from s3dlio.stores.s3.hosts import Place, Variant, domain_of, is_address, partition_of

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?").fullmatch
_KINDS = {"s3": "access points", "s3-object-lambda": "Object Lambda access points", "s3-outposts": "Outposts"}


class Arn(NamedTuple):
    """An ARN of S3: ``arn:partition:service:region:account:resource/...``."""

    text: str
    partition: str
    service: str
    region: str
    account: str
    resource: tuple[str, ...]


class Reach(NamedTuple):
    """What settings and profile say about places.

    Args:
        region: the configured region.
        variant: which of AWS's endpoints.
        endpoint: another service than AWS.
        use_arn_region: a region in an ARN that is not the configured one is taken.
        multi_region: access points of several regions may be used.
    """

    region: str
    variant: Variant
    endpoint: str | None
    use_arn_region: bool = True
    multi_region: bool = True


def is_arn(bucket: str) -> bool:
    """Whether an ARN stands in the place of a bucket's name."""
    return bucket.startswith("arn:")


def parse_arn(text: str) -> Arn:
    """The parts of an ARN.

    Raises:
        ConfigError: it is not one of S3.
    """
    parts = text.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn" or not parts[1] or not parts[5] or parts[2] not in _KINDS:
        raise ConfigError(f"'{text}' is no ARN of S3", hint="write arn:aws:s3:region:account:accesspoint/name")
    return Arn(text, parts[1], parts[2], parts[3], parts[4], tuple(re.split("[:/]", parts[5])))


def source_of(bucket: str, key: str) -> str:
    """An object behind an access point as the source of a copy, not encoded."""
    return f"{bucket}/object/{key}"


def access_point_place(text: str, reach: Reach) -> Place:
    """Where the requests for an access point go.

    Raises:
        ConfigError: the ARN is none of an access point, or there is no such endpoint for it.
    """
    arn = parse_arn(text)
    if arn.service == "s3-outposts":
        kind, *rest = arn.resource
        if kind != "outpost" or len(rest) != 3 or rest[1] != "accesspoint":
            raise _bad(arn, "it does not read outpost/id/accesspoint/name")
        outpost, name = rest[0], rest[2]
        return _regional(arn, reach, name, f".{_label(arn, outpost)}", "s3-outposts", fips=False, dualstack=False)
    if len(arn.resource) != 2 or arn.resource[0] != "accesspoint":
        raise _bad(arn, "it does not read accesspoint/name")
    name = arn.resource[1]
    if arn.service == "s3" and not arn.region:
        return _of_many_regions(arn, reach, name)
    if arn.service == "s3-object-lambda":
        return _regional(arn, reach, name, "", "s3-object-lambda", fips=True, dualstack=False)
    return _regional(arn, reach, name, "", "s3-accesspoint", fips=True, dualstack=True)


def _regional(arn: Arn, reach: Reach, name: str, rack: str, host: str, *, fips: bool, dualstack: bool) -> Place:
    """The place of an access point of one region.

    Args:
        arn: its ARN.
        reach: what settings and profile say.
        name: its name.
        rack: what follows that in the host name.
        host: the service's host name.
        fips, dualstack: whether there are such endpoints.
    """
    if not arn.region:
        raise _bad(arn, "it names no region")
    _label(arn, arn.region)
    if arn.region != reach.region and not reach.use_arn_region:
        raise ConfigError(
            f"the region of '{arn.text}' is not the configured one, {reach.region}",
            hint="set the region, or switch on s3.use_arn_region",
        )
    if partition_of(arn.region) != partition_of(reach.region):
        raise ConfigError(
            f"'{arn.text}' is in the partition {partition_of(arn.region)}, and the configured region {reach.region} in "
            f"{partition_of(reach.region)}",
            hint="set a region of the same partition",
        )
    variant = reach.variant
    _refuse(arn, accelerated=variant.accelerate, dualstack=variant.dualstack and not dualstack,
            fips=variant.fips and not fips)  # fmt: skip
    before = f"{_label(arn, name)}-{_label(arn, arn.account)}{rack}"
    service = "s3" if arn.service == "s3" else arn.service
    if reach.endpoint is not None:
        base = urlsplit(reach.endpoint)
        if is_address(base.hostname or ""):
            raise ConfigError(
                f"an access point cannot be part of the address {base.hostname}",
                hint="give the endpoint a name, or name the bucket",
            )
        return Place(f"{base.scheme}://{before}.{base.netloc}", base.path, arn.region, service)
    if variant.fips and arn.region.startswith("cn-"):
        raise ConfigError(f"AWS has no FIPS endpoints in {arn.region}", hint="switch that off for this region")
    kind = f"{host}{'-fips' if variant.fips else ''}{'.dualstack' if variant.dualstack else ''}"
    return Place(f"https://{before}.{kind}.{arn.region}.{domain_of(arn.region)}", "", arn.region, service)


def _of_many_regions(arn: Arn, reach: Reach, name: str) -> Place:
    """The place of a multi-region access point."""
    variant = reach.variant
    _refuse(arn, accelerated=variant.accelerate, dualstack=variant.dualstack, fips=variant.fips)
    if not reach.multi_region:
        raise ConfigError(
            f"'{arn.text}' is of several regions", hint="switch off s3.disable_multiregion_access_points"
        )
    if reach.endpoint is not None:
        raise ConfigError(
            f"'{arn.text}' is of several regions of AWS, and another endpoint is configured", hint="unset the endpoint"
        )
    if arn.partition != partition_of(reach.region):
        raise ConfigError(
            f"'{arn.text}' is in another partition than the configured region {reach.region}",
            hint="set a region of the same partition",
        )
    for label in name.split("."):
        _label(arn, label)
    return Place(f"https://{name}.accesspoint.s3-global.{domain_of(reach.region)}", "", "*", "s3", "asymmetric")


def _refuse(arn: Arn, *, accelerated: bool, dualstack: bool, fips: bool) -> None:
    what = _KINDS[arn.service] if arn.region else "access points of several regions"
    for there, kind, setting in (
        (accelerated, "accelerated", "accelerate"), (dualstack, "dual-stack", "dualstack"), (fips, "FIPS", "fips"),
    ):  # fmt: skip
        if there:
            raise ConfigError(f"AWS has no {kind} endpoints for {what}", hint=f"switch off s3.use_{setting}_endpoint")


def _label(arn: Arn, text: str) -> str:
    if not _LABEL(text):
        raise _bad(arn, f"'{text}' cannot be part of a host name")
    return text


def _bad(arn: Arn, why: str) -> ConfigError:
    return ConfigError(
        f"'{arn.text}' is no ARN of an access point: {why}",
        hint="write arn:aws:s3:region:account:accesspoint/name",
    )
