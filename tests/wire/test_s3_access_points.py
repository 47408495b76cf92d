"""Access points by their ARN, through the public face, over a scripted server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

import s3dlio
from s3dlio.cli.main import main
from s3dlio.net import system
from tests.servers.scripted import Expect, ReceivedRequest, ScriptedServer, respond

ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/name"
HOST = "name-123456789012.lab.example"


@pytest.fixture
def _everything_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """All names lead to this machine."""
    real: Callable[..., Any] = socket.getaddrinfo
    monkeypatch.setattr(system, "getaddrinfo", lambda host, *rest, **named: real("127.0.0.1", *rest, **named))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-west-2")


def at_the_point(line: str) -> Expect:
    def matches(request: ReceivedRequest) -> bool:
        fields = request.headers
        return (
            request.head.startswith(f"{line} ".encode())
            and fields["host"].startswith(f"{HOST}:")
            and "/eu-west-1/s3/aws4_request" in fields["authorization"]
        )

    return Expect(matches)


LISTING = respond(
    body=b"<ListBucketResult><Contents><Key>d/a</Key><Size>1</Size></Contents>"
    b"<Contents><Key>d/b</Key><Size>2</Size></Contents></ListBucketResult>"
)
LIST = "GET /?encoding-type=url&list-type=2&prefix=d%2F"


@pytest.mark.usefixtures("_everything_is_here")
def test_objects_behind_an_access_point_are_read_listed_and_copied() -> None:
    copied = respond(body=b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>")
    script = [at_the_point(LIST), LISTING, at_the_point("GET /d/a"), respond(body=b"a"), at_the_point("GET /d/b"),
              respond(body=b"bb"), at_the_point("PUT /e"), copied]  # fmt: skip
    with ScriptedServer([script]) as server:
        endpoint = f"http://lab.example:{server.port}"
        with s3dlio.Client(s3={"endpoint_url": endpoint}) as client:
            found = client.list(f"s3://{ARN}/d/", recursive=True)
            assert found == [f"s3://{ARN}/d/a", f"s3://{ARN}/d/b"]
            assert [bytes(client.get(uri)) for uri in found] == [b"a", b"bb"]
            store, _ = client.store_for(f"s3://{ARN}/e")
            store.copy(store, "d/a b", "e")
        named = server.all_requests[-1].headers["x-amz-copy-source"]
        assert named == "arn%3Aaws%3As3%3Aeu-west-1%3A123456789012%3Aaccesspoint/name/object/d/a%20b"
        server.assert_consumed()


@pytest.mark.usefixtures("_everything_is_here")
def test_commands_take_access_points(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = [at_the_point(LIST), LISTING, at_the_point("HEAD /d/a"), respond(headers=[("ETag", '"e"')])]
    with ScriptedServer([script]) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://lab.example:{server.port}")
        assert main(["ls", "-r", f"s3://{ARN}/d/"]) == 0
        assert f"s3://{ARN}/d/b" in capsys.readouterr().out
        assert main(["stat", f"s3://{ARN}/d/a"]) == 0
        assert f"s3://{ARN}/d/a" in capsys.readouterr().out
        server.assert_consumed()
