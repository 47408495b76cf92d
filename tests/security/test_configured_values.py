"""Values of settings that would break out of a header, or break the program far from where they were set."""

from __future__ import annotations

from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import ConfigError
from s3dlio.masking import redact
from tests.servers.scripted import ScriptedServer
from tests.wire.s3_harness import store_of

URLS = ["http://h:abc", "http://h:99999", "http://h:0", "http://[::1", "http://x\r\ny", "http://a b", "http://x\x00"]


@pytest.mark.parametrize("section", ["s3", "azure", "gcs"])
@pytest.mark.parametrize("url", URLS)
def test_an_endpoint_that_is_none(section: str, url: str) -> None:
    sections: dict[str, Any] = {section: {"endpoint_url": url}}
    with pytest.raises(ConfigError, match="is no URL"):
        Client(**sections)


@pytest.mark.parametrize("url", ["http://h", "https://h:9000/path", "http://[::1]:9000", "http://127.0.0.1:80"])
def test_an_endpoint(url: str) -> None:
    assert Client(endpoint_url=url).settings.s3.endpoint_url == url


@pytest.mark.parametrize("http", [{"read_timeout": 1e300}, {"read_timeout": "1e12"}, {"max_connections": "9" * 5000}])
def test_numbers_that_no_system_takes(http: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Client(http=http)


@pytest.mark.parametrize("name", ["region", "access_key_id", "session_token"])
@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\x00", "\u043a\u043b\u044e\u0447"])
def test_what_goes_into_a_header_cannot_leave_it(name: str, value: str) -> None:
    with ScriptedServer([]) as server, pytest.raises(ConfigError, match=r"no header can carry|is no region") as caught:
        store_of(server.endpoint, s3={name: value}, retry={"max_attempts": 1}).get("k")
    if name != "region":
        assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["Signature", "X-Amz-Signature", "X-Goog-Credential", "sig"])
def test_signatures_in_links_are_masked(name: str) -> None:
    assert "hidden" not in redact(f"https://h/k?AWSAccessKeyId=a&{name}=hidden&Expires=1")
