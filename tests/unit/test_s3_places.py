"""Access points, directory buckets and aliases: the same hosts, paths and signatures as botocore's."""

from __future__ import annotations

import calendar
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, InvalidURIError, MissingDependencyError, UnsupportedOperationError
from s3dlio.net import blocking
from s3dlio.net.message import Request
from s3dlio.net.response import Response
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import S3Account, S3Store
from s3dlio.stores.s3.express import ExpressStore
from s3dlio.stores.s3.hosts import Place, Variant
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.servers.aws_oracle import SESSION_DOCUMENT, Asked, botocore_asks

ACCOUNT = "123456789012"
OUTPOST_ALIAS = "test-accessp-o0b1d075431d83bebde8xz5w8ijx1qzlbp3i3kuse10--op-s3"
EDGE_ALIAS = "test-accessp-e0b1d075431d83bebde8xz5w8ijx1qzlbp3i3kuse10--op-s3"
MANY = f"arn:aws:s3::{ACCOUNT}:accesspoint/mfzwi23gnjvgw.mrap"
BUCKETS = [
    "my-bucket", "name-1q2w3e4r5t-s3alias", "name-1q2w--ol-s3", OUTPOST_ALIAS, EDGE_ALIAS,
    "train--usw2-az1--x-s3", "train--apne1-az4--x-s3", "train--usw2-lax1-az1--x-s3", "point--usw2-az1--xa-s3",
    f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/name", f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint:name",
    f"arn:aws-cn:s3:cn-north-1:{ACCOUNT}:accesspoint/name",
    f"arn:aws:s3-object-lambda:us-west-2:{ACCOUNT}:accesspoint/name",
    f"arn:aws:s3-outposts:us-west-2:{ACCOUNT}:outpost/op-01234567890123456/accesspoint/reports",
    f"arn:aws:s3-outposts:us-west-2:{ACCOUNT}:outpost:op-01234567890123456:accesspoint:reports", MANY,
]  # fmt: skip
REGIONS = ["us-west-2", "eu-west-1", "us-gov-west-1", "cn-north-1"]
VARIANTS = [Variant(*flags) for flags in itertools.product([False, True], repeat=3)]
KEYS = {"access_key_id": "AKIDKEYS", "secret_access_key": "secret"}
DIRECTORY = "train--usw2-az1--x-s3"


@pytest.fixture(autouse=True)
def _sessions_are_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """CreateSession is answered without a network."""

    def answered(steps: Any, *_: Any) -> Response:
        request = next(steps)
        assert (request.method, request.query) == ("GET", "session=")
        response = Response(200, b"HTTP/1.1 200 OK\r\n", b"http/1.1 200 ok\r\n")
        response.body = SESSION_DOCUMENT
        return response

    monkeypatch.setattr(blocking, "drive", answered)


def store_at(bucket: str, region: str = "us-west-2", **s3: Any) -> S3Store:
    store = open_store(parse(f"s3://{bucket}/"), Settings.resolve({}, s3={**KEYS, "region": region, **s3}))
    assert isinstance(store, S3Store)
    return store


def asked_by_us(request: Request) -> Asked:
    """The request as it would go over the wire."""
    head = request.service.signer.render(request).decode("latin-1")
    line, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    fields = dict(line.split(": ", 1) for line in lines)
    return Asked(method, f"{request.service.pool.scheme}://{fields['host']}{target}", fields)


def plain(url: str) -> str:
    """A URL with its query as a signature has it: botocore sends ``?session``, and signs ``session=``."""
    place, _, query = url.partition("?")
    return place + "?" + "&".join(sorted(part if "=" in part else f"{part}=" for part in query.split("&") if part))


def flags_of(variant: Variant) -> tuple[dict[str, bool], dict[str, Any]]:
    flags = {"use_fips_endpoint": variant.fips, "use_dualstack_endpoint": variant.dualstack}
    return flags, {"use_accelerate_endpoint": variant.accelerate, "us_east_1_regional_endpoint": "regional"}


def compare(ours: Asked, theirs: Asked, monkeypatch: pytest.MonkeyPatch, request: Request) -> None:
    """The same place and the same signature, of the same moment."""
    assert ours.method == theirs.method
    assert plain(ours.url) == plain(theirs.url)
    moment = calendar.timegm(time.strptime(theirs.fields["x-amz-date"], "%Y%m%dT%H%M%SZ"))
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: float(moment))
        ours = asked_by_us(request)
    if "ECDSA" in theirs.fields["authorization"]:  # whose signatures are random
        ours.fields["authorization"] = ours.fields["authorization"].partition(", Signature=")[0]
        theirs.fields["authorization"] = theirs.fields["authorization"].partition(", Signature=")[0]
    assert ours.fields["authorization"] == theirs.fields["authorization"]
    for name in ("x-amz-s3session-token", "x-amz-security-token", "x-amz-region-set"):
        assert ours.fields.get(name) == theirs.fields.get(name)


TEXT = st.characters(codec="ascii", categories=["L", "N", "P", "Zs"])


@given(
    bucket=st.sampled_from(BUCKETS), region=st.sampled_from(REGIONS), variant=st.sampled_from(VARIANTS),
    verb=st.sampled_from(["get", "head", "list", "delete", "uploads", "copy"]), any_region=st.booleans(),
    many=st.booleans(), sessions=st.booleans(), key=st.text(TEXT, max_size=12).map(lambda text: "k" + text),
)  # fmt: skip
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_requests_are_those_of_botocore(
    bucket: str, region: str, variant: Variant, verb: str, any_region: bool, many: bool, sessions: bool, key: str
) -> None:
    flags, s3 = flags_of(variant)
    s3 |= {"use_arn_region": any_region, "s3_disable_multiregion_access_points": not many,
           "disable_s3_express_session_auth": not sessions}  # fmt: skip
    named = {"Bucket": bucket, "Key": key}
    operation, arguments = {
        "get": ("get_object", named), "head": ("head_object", {**named, "ChecksumMode": "ENABLED"}),
        "delete": ("delete_object", named),
        "list": ("list_objects_v2", {"Bucket": bucket, "Prefix": "a b/", "EncodingType": "url"}),
        "uploads": ("list_multipart_uploads", {"Bucket": bucket, "EncodingType": "url"}),
        "copy": ("copy_object", {**named, "CopySource": {"Bucket": bucket, "Key": "from here"}}),
    }[verb]  # fmt: skip
    theirs = botocore_asks(operation, arguments, region=region, flags=flags, s3=s3)
    ours = {**KEYS, **{f"use_{name}_endpoint": value for name, value in variant._asdict().items()},
            "use_arn_region": any_region, "disable_multiregion_access_points": not many,
            "disable_express_session_auth": not sessions}  # fmt: skip
    if isinstance(theirs, Exception):
        with pytest.raises(ConfigError):
            store_at(bucket, region, **ours)
        return
    if variant.accelerate and bucket.endswith("--op-s3"):
        return  # which botocore asks for in the path
    store = store_at(bucket, region, **ours)
    request = one_request(store, verb, key)
    if verb in ("get", "head") and not store.service.verifies:  # what Object Lambda makes has no checksum of its own
        request.headers = (*request.headers, ("x-amz-checksum-mode", "ENABLED"))
    with pytest.MonkeyPatch.context() as patch:
        compare(asked_by_us(request), theirs, patch, request)


def one_request(store: S3Store, verb: str, key: str) -> Request:
    if verb == "get":
        return store.service.read_request(key, (), Conditions())
    if verb == "uploads":
        return store.service.request("GET", "", "encoding-type=url&uploads=")
    call: Any = {
        "head": lambda: store.head_call(key), "delete": lambda: store.delete_call(key),
        "list": lambda: store.list_page_call("a b/", True, None),
        "copy": lambda: store.copy_call(store, "from here", key),
    }[verb]()  # fmt: skip
    request: Request = next(call.steps())
    if verb == "copy":
        fields = dict(request.headers)
        fields["x-amz-copy-source"] = fields["x-amz-copy-source"].removeprefix("/")  # which may stand there
        request.headers = tuple(fields.items())
    return request


@pytest.mark.parametrize("variant", [Variant(), Variant(fips=True), Variant(dualstack=True)])
def test_directory_buckets_are_made_deleted_and_listed_at_the_control_endpoint(
    variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, s3 = flags_of(variant)
    ours = {f"use_{name}_endpoint": value for name, value in variant._asdict().items()}
    store = store_at(DIRECTORY, **ours)
    for steps, operation, arguments in (
        (store._delete_container(), "delete_bucket", {"Bucket": DIRECTORY}),
        (store._list_containers(), "list_directory_buckets", {}),
    ):
        theirs = botocore_asks(operation, arguments, flags=flags, s3=s3)
        assert isinstance(theirs, Asked)
        request = next(steps)
        compare(asked_by_us(request), theirs, monkeypatch, request)
    zone = {"Location": {"Type": "AvailabilityZone", "Name": "usw2-az1"},
            "Bucket": {"DataRedundancy": "SingleAvailabilityZone", "Type": "Directory"}}  # fmt: skip
    made = {"Bucket": DIRECTORY, "CreateBucketConfiguration": zone}
    theirs = botocore_asks("create_bucket", made, flags=flags, s3=s3)
    assert isinstance(theirs, Asked)
    request = next(store._create_container())
    assert plain(asked_by_us(request).url) == plain(theirs.url)
    assert b"<Name>usw2-az1</Name>" in bytes(request.body.read(0, 1000))


def test_a_rename_is_that_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(DIRECTORY)
    request = next(store.rename_call("a b", "c d").steps())
    fields = dict(request.headers)
    named = {"Bucket": DIRECTORY, "Key": "c d", "RenameSource": "a%20b", "ClientToken": fields["x-amz-client-token"]}
    theirs = botocore_asks("rename_object", named)
    assert isinstance(theirs, Asked)
    compare(asked_by_us(request), theirs, monkeypatch, request)


@pytest.mark.parametrize("bucket", [DIRECTORY, f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/name"])
def test_another_endpoint_carries_the_name_before_its_own(bucket: str) -> None:
    theirs = botocore_asks("get_object", {"Bucket": bucket, "Key": "key"}, endpoint="http://lab.example:9000/gate")
    assert isinstance(theirs, Asked)
    store = store_at(bucket, endpoint_url="http://lab.example:9000/gate")
    assert asked_by_us(store.service.read_request("key", (), Conditions())).url == theirs.url


@pytest.mark.parametrize("bucket", [f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/name", MANY])
def test_an_access_point_has_no_place_at_an_address(bucket: str) -> None:
    with pytest.raises(ConfigError):
        store_at(bucket, endpoint_url="http://127.0.0.1:9000")


def test_links_are_signed_with_own_keys_for_the_place() -> None:
    url = store_at(DIRECTORY).presign("key", expires=3600)
    assert url.startswith(f"https://{DIRECTORY}.s3express-usw2-az1.us-west-2.amazonaws.com/key?")
    assert "AKIDKEYS%2F" in url
    assert "us-west-2%2Fs3express%2Faws4_request" in url
    assert "X-Amz-Expires=3600" in url
    url = store_at(MANY).presign("key", version_id="v 1")
    assert url.startswith("https://mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com/key?")
    assert "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256" in url
    assert "versionId=v%201" in url
    assert "X-Amz-Region-Set=%2A" in url


def test_what_directory_buckets_do_not_have_is_refused_before_anything_is_sent() -> None:
    store = store_at(DIRECTORY)
    assert isinstance(store, ExpressStore)
    versioned, customer = Conditions(version_id="1"), Conditions(sse_customer_key=bytes(32))
    for attempt in (
        lambda: store.get("k", conditions=versioned), lambda: store.head("k", conditions=customer),
        lambda: store.put("k", b"", options=PutOptions(tags={"a": "b"})),
        lambda: store.writer("k", options=PutOptions(sse_customer_key=bytes(32))),
        lambda: store.delete("k", version_id="1"), lambda: store.get_tags("k"), lambda: store.put_tags("k", {}),
        lambda: store.copy_call(store, "a", "b", options=PutOptions(tags={"a": "b"})),
        lambda: next(store.copy_call(store, "a", "b", options=PutOptions(conditions=versioned)).steps()),
        lambda: store.presign("k", version_id="1"),
    ):  # fmt: skip
        with pytest.raises(UnsupportedOperationError, match="directory buckets cannot"):
            attempt()
    point = store_at(f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/name")
    for attempt in (point.create_container, point.delete_container):
        with pytest.raises(UnsupportedOperationError, match="access point"):
            attempt()


def test_an_access_point_of_several_regions_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "awscrt.auth", None)
    with pytest.raises(MissingDependencyError, match=r"s3dlio\[sigv4a\]"):
        store_at(MANY, session_token="another account, whose services are not kept")


@pytest.mark.parametrize("bucket", [bucket for bucket in BUCKETS if bucket.startswith("arn:")])
def test_uris_hold_arns(bucket: str) -> None:
    for key in ("", "key", "a/b//c", "arn:x/y"):
        location = parse(f"s3://{bucket}/{key}")
        assert (location.container, location.key, str(location)) == (bucket, key, f"s3://{bucket}/{key}")
        there = parse(f"s3://host:9000/{bucket}/{key}")
        assert (there.endpoint, there.container, there.key) == ("host:9000", bucket, key)
    assert parse(f"s3://{bucket}").key == ""


@pytest.mark.parametrize("uri", [
    "s3://arn:aws:s3:::bucket/key", f"s3://arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint", "s3://arn:x/y",
    f"s3://arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/na me/key",
])  # fmt: skip
def test_what_is_no_access_point_is_refused(uri: str) -> None:
    with pytest.raises(InvalidURIError):
        parse(uri)


def test_accounts_share_what_they_know_of_a_bucket() -> None:
    account = S3Account(Settings.resolve({}, s3={**KEYS, "region": "us-west-2"}))
    first, second = (ExpressStore(account, DIRECTORY).service.route for _ in range(2))
    assert first.target is second.target
    assert first.copies is second.copies
    assert first.target is not first.copies


def test_the_environment_and_the_profile_say_how_to_get_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile own]\nregion = us-west-2\ns3_disable_express_session_auth = true\ns3_use_arn_region = false\n"
        "[profile nested]\nregion = us-west-2\ns3 =\n  use_arn_region = false\n"
        "  s3_disable_multiregion_access_points = true\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    def place(bucket: str, **s3: Any) -> Place:
        return S3Account(Settings.resolve(s3={**KEYS, **s3})).endpoint.place(bucket)

    elsewhere = f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/name"
    assert place(DIRECTORY, region="us-west-2").signing == "session"
    assert place(DIRECTORY, profile="own").signing == "keys"
    assert place(elsewhere, region="us-west-2").region == "eu-west-1"
    for profile, bucket in (("own", elsewhere), ("nested", elsewhere), ("nested", MANY)):
        with pytest.raises(ConfigError):
            place(bucket, profile=profile)
    assert place(elsewhere, profile="own", use_arn_region=True).region == "eu-west-1"
    monkeypatch.setenv("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "true")
    assert place(DIRECTORY, region="us-west-2").signing == "keys"
    monkeypatch.setenv("AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS", "true")
    monkeypatch.setenv("AWS_S3_USE_ARN_REGION", "false")
    for bucket in (elsewhere, MANY):
        with pytest.raises(ConfigError):
            place(bucket, region="us-west-2")
