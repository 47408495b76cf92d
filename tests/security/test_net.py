"""No secret is seen where it does not belong, and no input becomes a header."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.errors import S3dlioError
from s3dlio.stores.s3.sigv4 import SigV4Signer
from s3dlio.types import PutOptions
from tests.servers import Server
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, respond
from tests.wire.s3_harness import SECRET, error, settings_of, store_of

TOKEN = "FwoGZXIvYXdzEBYaDPsessiontoken"
CUSTOMER_KEY = b"customer-key-of-thirty-two-bytes"


def secrets_of(store_secret: str = SECRET) -> list[str]:
    import base64

    return [store_secret, TOKEN, CUSTOMER_KEY.decode(), base64.b64encode(CUSTOMER_KEY).decode()]


def assert_clean(text: str) -> None:
    for secret in secrets_of():
        assert secret not in text


def test_a_whole_session_logs_no_secret(moto_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = store_of(moto_server.endpoint, "logged", s3={"session_token": TOKEN}, multipart={"threshold": 5 << 20})
    store.create_container()
    store.put("k", b"data", options=PutOptions(sse_customer_key=CUSTOMER_KEY))
    store.put("large", bytes(6 << 20))
    store.copy(store, "large", "copy")
    assert store.get("large").__len__() == 6 << 20
    store.presign("large")
    with pytest.raises(S3dlioError) as caught:
        store.get("absent")
    list(store.list())
    store.delete_many(["k", "large", "copy"])
    assert_clean(caplog.text)
    assert_clean(str(caught.value) + repr(caught.value))


@pytest.mark.parametrize("status", ["403 Forbidden", "400 Bad Request", "500 Oops"])
def test_errors_carry_no_secret_even_when_the_service_repeats_it(status: str) -> None:
    """S3 repeats the string to sign and the signature in SignatureDoesNotMatch, not the secret."""
    answer = error(status, "SignatureDoesNotMatch", StringToSign="AWS4-HMAC-SHA256", AWSAccessKeyId="AKIATEST")
    with ScriptedServer([[Expect(), answer] * 3]) as server:
        store = store_of(server.endpoint, s3={"session_token": TOKEN})
        with pytest.raises(S3dlioError) as caught:
            store.get("k")
    chain: BaseException | None = caught.value
    while chain is not None:
        assert_clean(str(chain) + repr(chain) + repr(chain.__dict__))
        chain = chain.__cause__ or chain.__context__
    assert_clean(repr(pickle.dumps(caught.value)))


def test_nothing_shows_a_secret() -> None:
    settings = settings_of("http://127.0.0.1:9", s3={"session_token": TOKEN})
    store = store_of("http://127.0.0.1:9", s3={"session_token": TOKEN})
    account, signed = store.service.account, store.service.route.target
    for thing in (settings, settings.s3, store, account, account.credentials(), signed.pool):
        assert_clean(repr(thing) + str(thing))
    assert_clean(repr(PutOptions(sse_customer_key=CUSTOMER_KEY)))
    assert_clean(" ".join(f"{shown.name}={shown.value}" for shown in settings.describe()))
    signer = signed.signer
    assert isinstance(signer, SigV4Signer)
    signer.render(store.service.request("GET", "k"))
    assert_clean(repr(signer) + repr(signer._stamp))


def test_settings_of_an_endpoint_show_no_secret(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[endpoint."h:9000"]\ns3.access_key_id = "{TOKEN}"\ns3.secret_access_key = "{SECRET}"\n')
    settings = Settings.resolve({"S3DLIO_CONFIG": str(config)})
    (endpoint,) = settings.endpoints
    for thing in (settings, endpoint, endpoint.values, endpoint.values[1], settings.at("h:9000")):
        assert_clean(repr(thing) + str(thing))
    assert_clean(repr(pickle.dumps(settings)))
    assert_clean(" ".join(f"{shown.name}={shown.value}" for shown in settings.describe()))


def test_a_request_does_not_show_its_headers() -> None:
    store = store_of("http://127.0.0.1:9", s3={"session_token": TOKEN})
    assert_clean(repr(store.service.request("GET", "k")))


@pytest.mark.parametrize(
    "key",
    ["a b", "a\r\nEvil: 1", "a HTTP/1.1\r\n\r\nGET /other", "a?acl", "a#b", "a%0d%0aEvil: 1", "../../etc", "\x00"],
)
def test_a_key_stays_within_its_line(key: str) -> None:
    with ScriptedServer([[Expect(b"GET /b/"), respond(body=b"x")]]) as server:
        store_of(server.endpoint).get(key)
        seen = server.all_requests[0]
        assert set(seen.headers) <= {"host", "x-amz-date", "x-amz-content-sha256", "user-agent", "authorization"}
        assert seen.head.count(b"\r\n\r\n") == 1
        assert "?" not in seen.target
        server.assert_consumed()


@pytest.mark.parametrize("bucket", ["b\r\nEvil: 1", "b c", "b?acl", "b HTTP/1.1"])
def test_a_bucket_that_is_none(bucket: str) -> None:
    with ScriptedServer([]) as server:
        client: Any = Client(settings_of(server.endpoint))
        with pytest.raises(S3dlioError):
            client.get(f"s3://{bucket}/k")
        server.assert_consumed()


@pytest.mark.parametrize("name", ["access_key_id", "session_token"])
def test_credentials_that_no_header_can_carry(name: str) -> None:
    with ScriptedServer([[ExpectClose()]]) as server:
        store = store_of(server.endpoint, s3={name: "abc\r\nEvil: 1"})
        with pytest.raises(S3dlioError) as caught:
            store.get("k")
        assert "Evil" not in str(caught.value)
        assert server.all_requests == []
