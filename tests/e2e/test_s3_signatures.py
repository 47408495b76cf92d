"""Services that check signatures: OpenStack Swift, over TLS with a private authority and without, and Ceph."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from s3dlio.client import Client
from s3dlio.errors import PermissionDeniedError
from s3dlio.stores.s3 import copying
from s3dlio.types import PutOptions
from tests.servers import Server

_numbers = itertools.count(1)


@pytest.fixture(params=["swift_server", "swift_tls_server", "radosgw_server"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    running: Server = request.getfixturevalue(request.param)
    for name, value in running.env.items():
        monkeypatch.setenv(name, value)
    return running


@pytest.fixture
def bucket(server: Server) -> Iterator[str]:
    uri = f"s3://signed-{next(_numbers)}"
    with Client() as client:
        client.create_bucket(uri)
        yield uri
        client.rmdir(uri + "/", recursive=True)
        client.delete_bucket(uri)


def http_of(server: Server) -> urllib3.PoolManager:
    return urllib3.PoolManager(ca_certs=server.env.get("AWS_CA_BUNDLE"))


@pytest.mark.parametrize("s3", [{}, {"payload_signing": True}], ids=["unsigned payload", "signed payload"])
def test_payloads_in_one_piece_and_in_parts(bucket: str, s3: dict[str, Any]) -> None:
    parts = {"threshold": "5MiB", "part_size": "5MiB"}
    data = bytes(range(256)) * 4 * 1024 * 6
    with Client(s3=s3, multipart=parts) as client:
        client.put_bytes(bucket + "/small é+ %", b"data")
        client.put_bytes(bucket + "/large", data)
        assert client.get(bucket + "/small é+ %") == b"data"
        assert client.get(bucket + "/large") == data


def test_links_work_without_credentials(server: Server, bucket: str) -> None:
    http, uri = http_of(server), bucket + "/a b/é+%"
    with Client() as client:
        assert http.request("PUT", client.presign(uri, "PUT", 60), body=b"data").status == 200
        assert client.get(uri) == b"data"
        link = client.presign(uri)
        assert http.request("GET", link).data == b"data"
        assert http.request("HEAD", client.presign(uri, "HEAD")).headers["content-length"] == "4"
        assert http.request("PUT", link, body=b"other").status == 403  # it is a link for GET
        assert http.request("GET", link.replace("X-Amz-Signature=", "X-Amz-Signature=0")).status == 403
        assert http.request("DELETE", client.presign(uri, "DELETE")).status == 204
        assert not client.exists(uri)


def test_a_wrong_secret_is_refused(bucket: str) -> None:
    with Client() as client:
        client.put_bytes(bucket + "/k", b"data")
    with Client(secret_access_key="wrong") as stranger:
        for refused in (
            lambda: stranger.get(bucket + "/k"),
            lambda: stranger.stat(bucket + "/k"),
            lambda: stranger.put_bytes(bucket + "/k", b"other"),
            lambda: stranger.list(bucket + "/"),
            lambda: stranger.delete(bucket + "/k"),
        ):
            with pytest.raises(PermissionDeniedError) as caught:
                refused()
            assert "wrong" not in str(caught.value)


def test_large_copies_go_in_parts(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "COPY_WHOLE", 8 << 20)
    monkeypatch.setattr(copying, "COPY_PART", 5 << 20)
    data = bytes(range(256)) * 4 * 1024 * 12
    options = PutOptions(content_type="text/x-test", metadata={"a": "b"})
    with Client() as client:
        client.put_bytes(bucket + "/source é", data, options=options)
        client.copy(bucket + "/source é", bucket + "/copy")
        assert client.get(bucket + "/copy") == data
        about = client.stat(bucket + "/copy")
        assert about["etag"].endswith('-3"')
        assert (about["content_type"], about["metadata"]) == ("text/x-test", {"a": "b"})
