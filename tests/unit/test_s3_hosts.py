"""AWS's endpoints: FIPS, dual stack, acceleration; the same hosts as botocore's endpoint rules give."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import S3Account, S3Store
from s3dlio.stores.s3.buckets import bucket_request
from s3dlio.stores.s3.hosts import Variant, aws_endpoint
from s3dlio.uri import parse
from tests.servers.aws_oracle import botocore_asks
from tests.servers.scripted import Expect, ScriptedServer, respond
from tests.wire.s3_harness import store_of

KEYS = {"access_key_id": "AKIDKEYS", "secret_access_key": "secret"}
REGIONS = ["us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1", "us-isob-east-1",
           "us-isof-south-1", "eu-isoe-west-1", "mars-north-1"]  # fmt: skip
#: botocore knows of no dual stack there and refuses it by itself.
NO_DUALSTACK = ("us-isof-", "eu-isoe-")


def account(**s3: Any) -> S3Account:
    return S3Account(Settings.resolve(s3={**KEYS, **s3}))


def asked_by_botocore(region: str, bucket: str, variant: Variant) -> str | None:
    """Where botocore would look for an object; None where it refuses."""
    asked = botocore_asks(
        "get_object",
        {"Bucket": bucket, "Key": "key"},
        region=region,
        flags={"use_fips_endpoint": variant.fips, "use_dualstack_endpoint": variant.dualstack},
        s3={"use_accelerate_endpoint": variant.accelerate, "us_east_1_regional_endpoint": "regional"},
    )
    if isinstance(asked, Exception):
        assert isinstance(asked, BotoCoreError)
        return None
    return asked.url


@pytest.mark.parametrize("variant", [Variant(*flags) for flags in itertools.product([False, True], repeat=3)])
@pytest.mark.parametrize("region", REGIONS)
def test_the_hosts_are_those_of_botocore(region: str, variant: Variant) -> None:
    if variant.dualstack and region.startswith(NO_DUALSTACK):
        pytest.skip("botocore knows of no dual stack there")
    flags = {f"use_{name}_endpoint": value for name, value in variant._asdict().items()}
    for bucket in ("my-bucket", "my.bucket"):
        wanted = asked_by_botocore(region, bucket, variant)
        if wanted is None:
            with pytest.raises(ConfigError):
                account(region=region, **flags).service(bucket)
        else:
            service, base = account(region=region, **flags).service(bucket)
            assert f"{service.pool.name}{base}/key" == wanted


def test_the_environment_and_the_profile_choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile lab]\nregion = eu-west-1\nuse_fips_endpoint = true\ns3 =\n  use_dualstack_endpoint = true\n"
        "[profile fast]\nregion = eu-west-1\ns3 =\n  use_accelerate_endpoint = true\n"
        "[profile both]\nregion = eu-west-1\nuse_dualstack_endpoint = true\n"
        "[profile odd]\nuse_fips_endpoint = perhaps\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert account(profile="lab").endpoint.variant == (True, True, False)
    assert account(profile="fast").endpoint.variant == (False, False, True)
    assert account(profile="both").endpoint.variant == (False, True, False)
    assert account(profile="lab", use_fips_endpoint=False).endpoint.variant == (False, True, False)
    with pytest.raises(ConfigError, match="use_fips_endpoint of the profile must be true or false"):
        account(profile="odd")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "false")
    assert account(profile="lab").endpoint.variant == (False, True, False)
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    assert account().endpoint.variant == (False, True, False)


@pytest.mark.parametrize("uri", ["s3://127.0.0.1:9/b/", "s3://b/"])
def test_an_endpoint_that_is_named_is_the_one(uri: str) -> None:
    flags = {"use_fips_endpoint": True, "use_accelerate_endpoint": True}
    settings = Settings.resolve({}, s3={**KEYS, **flags, "endpoint_url": "http://127.0.0.1:9"})
    store = open_store(parse(uri), settings)
    assert isinstance(store, S3Store)
    assert store.service.route.target.pool.name == "http://127.0.0.1:9"


def test_buckets_are_made_deleted_and_listed_where_they_are() -> None:
    fast = account(region="eu-west-1", use_accelerate_endpoint=True, addressing="path")
    store = S3Store(fast, "my-bucket")
    route = store.service.route
    assert route.target.pool.name == "https://my-bucket.s3-accelerate.amazonaws.com"
    assert route.control.pool.name == "https://my-bucket.s3.eu-west-1.amazonaws.com"
    assert fast.service("")[0].pool.name == "https://s3.eu-west-1.amazonaws.com"
    for method, path, query, home in (
        ("PUT", "/", "", route.control), ("DELETE", "/", "", route.control), ("PUT", "/key", "", route.target),
        ("POST", "/", "delete=", route.target), ("GET", "/", "list-type=2", route.target),
    ):  # fmt: skip
        request = store.service.request(method, path.removeprefix("/"), query)
        assert route.home_of(request) is home
    assert bucket_request(store.service, "PUT", None).service is route.control


def test_a_bucket_that_is_deleted_elsewhere_is_followed_to_its_region() -> None:
    """A redirect of a request for the bucket itself ends, also where it goes to a service of its own."""
    moved = respond("301 Moved Permanently", headers=[("x-amz-bucket-region", "eu-lab-1")])
    gone = respond("204 No Content")
    with ScriptedServer([[Expect(b"DELETE /b "), moved, Expect(b"DELETE /b "), gone]]) as server:
        store_of(server.endpoint).delete_container()
        server.assert_consumed()


@pytest.mark.parametrize("backend", ["native", "boto3", "arrow"])
def test_what_aws_does_not_have_is_refused_before_anything_is_sent(backend: str) -> None:
    for flags in (
        {"use_fips_endpoint": True, "use_accelerate_endpoint": True},
        {"use_fips_endpoint": True, "region": "cn-north-1"},
        {"use_accelerate_endpoint": True, "region": "cn-north-1"},
    ):
        with pytest.raises(ConfigError, match="AWS has no"):
            open_store(parse("s3://my-bucket/"), Settings.resolve({}, s3={**KEYS, "backend": backend, **flags}))
    accelerated = Settings.resolve({}, s3={**KEYS, "backend": backend, "use_accelerate_endpoint": True})
    with pytest.raises(ConfigError, match="cannot be part of a host name"):
        open_store(parse("s3://my.bucket/"), accelerated)


@pytest.mark.parametrize("variant", [Variant(), Variant(fips=True), Variant(dualstack=True), Variant(accelerate=True)])
def test_the_other_transports_go_there_too(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {f"use_{name}_endpoint": value for name, value in variant._asdict().items()}
    base = aws_endpoint("eu-west-1", variant)
    url = open_store(
        parse("s3://my-bucket/"), Settings.resolve({}, s3={**KEYS, "backend": "boto3", "region": "eu-west-1", **flags})
    ).presign("key")  # type: ignore[attr-defined]
    assert url.startswith(base.replace("https://", "https://my-bucket.") + "/key?")
    made: list[dict[str, Any]] = []
    store = pytest.importorskip("obstore.store")
    monkeypatch.setattr(store, "S3Store", lambda config, **_: made.append(config))
    for addressing in ("auto", "path"):
        s3 = {**KEYS, "backend": "arrow", "region": "eu-west-1", "addressing": addressing, **flags}
        open_store(parse("s3://my-bucket/"), Settings.resolve({}, s3=s3))._make_arrow()  # type: ignore[attr-defined]
    in_path = not variant.accelerate  # which has no such way of addressing
    assert [config["endpoint"] for config in made] == [
        base.replace("https://", "https://my-bucket."), base if in_path else base.replace("//", "//my-bucket."),
    ]  # fmt: skip
    assert [config["virtual_hosted_style_request"] for config in made] == [True, not in_path]
