"""Each server starts, does its work through its vendor's own SDK, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest
import urllib3

from tests.servers.azurite import AzuriteServer
from tests.servers.base import LOOPBACK, Server, accepts, hold_port, port_of
from tests.servers.certs import Authority
from tests.servers.delayed import DelayedServer
from tests.servers.gcs import GcsServer
from tests.servers.moto_server import MotoServer
from tests.servers.nginx import NginxServer
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.radosgw import RadosgwServer
from tests.servers.scripted import (
    Action,
    Close,
    Expect,
    ExpectClose,
    Reset,
    ScriptedServer,
    ScriptMismatchError,
    Send,
    respond,
)
from tests.servers.swift import SwiftServer

ODD_KEY = "odd/a b+c%25//ü&?.bin"


def s3_client(server: Server, **changes: Any) -> Any:
    env = server.env
    settings = {
        "endpoint_url": env["AWS_ENDPOINT_URL"],
        "aws_access_key_id": env["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
        "region_name": env["AWS_REGION"],
        "verify": env.get("AWS_CA_BUNDLE"),
        "config": botocore.config.Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    }
    return boto3.client("s3", **(settings | changes))


def check_s3(server: Server, bucket: str) -> None:
    """Create, put, get, list and delete, with a key that needs quoting."""
    s3 = s3_client(server)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=ODD_KEY, Body=b"payload")
    assert s3.get_object(Bucket=bucket, Key=ODD_KEY)["Body"].read() == b"payload"
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [ODD_KEY]
    s3.delete_object(Bucket=bucket, Key=ODD_KEY)
    s3.delete_bucket(Bucket=bucket)


def check_wrong_secret_is_refused(server: Server) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3_client(server, aws_secret_access_key="wrong").list_buckets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_moto(moto_server: MotoServer) -> None:
    check_s3(moto_server, "moto-check")


def test_moto_keeps_connections_open_and_counts_requests() -> None:
    with MotoServer() as server:
        connection = http.client.HTTPConnection(server.endpoint.partition("//")[2])
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read()
        connection.close()
        seen = server.requests()
        assert [(request.method, request.target, request.status) for request in seen] == [("GET", "/", 200)] * 3
        assert len({request.peer for request in seen}) == 1
        server.reset_requests()
        assert server.requests() == []


def test_moto_reset_empties_it() -> None:
    with MotoServer() as server:
        s3_client(server).create_bucket(Bucket="gone")
        server.reset()
        assert s3_client(server).list_buckets()["Buckets"] == []


def test_moto_over_tls_with_a_delay(authority: Authority) -> None:
    with MotoServer(tls=authority, delay=0.05) as server:
        started = time.monotonic()
        check_s3(server, "delayed")
        assert time.monotonic() - started >= 6 * 0.05


def test_swift(swift_server: SwiftServer) -> None:
    check_s3(swift_server, "swift-check")
    check_wrong_secret_is_refused(swift_server)


def test_swift_over_tls(swift_tls_server: SwiftServer) -> None:
    check_s3(swift_tls_server, "swift-tls-check")
    with pytest.raises(botocore.exceptions.SSLError):
        s3_client(swift_tls_server, verify=None).list_buckets()


def test_radosgw(radosgw_server: RadosgwServer) -> None:
    check_s3(radosgw_server, "ceph-check")
    check_wrong_secret_is_refused(radosgw_server)


def check_nginx(server: NginxServer, ca: Path | None = None) -> None:
    with urllib3.PoolManager(ca_certs=str(ca) if ca else None, retries=False) as pool:
        url = f"{server.endpoint}/bucket/some/key"
        put = pool.request("PUT", url, body=b"x" * 5_000_000)
        assert put.status == 201
        assert put.headers["ETag"]
        assert pool.request("GET", url, headers={"Range": "bytes=1-3"}).data == b"xxx"
        assert pool.request("HEAD", url).headers["Content-Length"] == "5000000"
        assert pool.request("DELETE", url).status == 204
        assert pool.request("GET", url).status == 404
        (connections,) = [pool.pools[key].num_connections for key in pool.pools.keys()]  # noqa: SIM118 - not a dict
        assert connections == 1


def test_nginx(nginx_server: NginxServer) -> None:
    check_nginx(nginx_server)
    nginx_server.add_object("ready/made", b"data")
    assert urllib3.request("GET", f"{nginx_server.endpoint}/ready/made").data == b"data"


def test_nginx_answers_listings(nginx_server: NginxServer) -> None:
    keys = [f"k/{index:05}" for index in range(2500)]
    nginx_server.add_listing("listed", keys)
    pages = list(s3_client(nginx_server).get_paginator("list_objects_v2").paginate(Bucket="listed"))
    assert [len(page["Contents"]) for page in pages] == [1000, 1000, 500]
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys


def test_nginx_over_tls(nginx_server: NginxServer, authority: Authority) -> None:
    with NginxServer(tls=authority, cache=False) as server:
        check_nginx(server, authority.bundle)


def test_delayed_server_answers_after_its_delay() -> None:
    with DelayedServer(delay=0.2, size=1000) as server, urllib3.PoolManager(retries=False) as pool:
        host, port = server.endpoint.partition("//")[2].split(":")
        clients = [socket.create_connection((host, int(port))) for _ in range(50)]
        started = time.monotonic()
        for client in clients:  # all ask before the first is answered
            client.sendall(b"GET /bucket/key HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in clients:
            assert client.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
            client.close()
        assert time.monotonic() - started >= 0.2
        part = pool.request("GET", f"{server.endpoint}/b/k", headers={"Range": "bytes=10-19"})
        assert (part.status, part.headers["Content-Range"]) == (206, "bytes 10-19/1000")
        assert part.data == bytes(range(10, 20))
        head = pool.request("HEAD", f"{server.endpoint}/b/k")
        assert (head.headers["Content-Length"], head.data) == ("1000", b"")


def test_azurite(azurite_server: AzuriteServer) -> None:
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(azurite_server.connection_string) as service:
        container = service.create_container("azurite-check")
        container.upload_blob(ODD_KEY, b"payload")
        assert container.download_blob(ODD_KEY).readall() == b"payload"
        assert [blob.name for blob in container.list_blobs()] == [ODD_KEY]
        container.delete_container()
    with BlobServiceClient(azurite_server.account_url, credential="d3Jvbmc=", retry_total=0) as wrong:
        with pytest.raises(HttpResponseError) as caught:
            list(wrong.list_containers())
        assert caught.value.status_code == 403


def test_gcs(gcs_server: GcsServer) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(
        project="s3dlio-tests",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": gcs_server.endpoint},
    )
    bucket = client.create_bucket("gcs-check")
    bucket.blob("some/key").upload_from_string(b"payload")
    assert bucket.blob("some/key").download_as_bytes() == b"payload"
    assert [blob.name for blob in client.list_blobs("gcs-check")] == ["some/key"]
    client.close()


def test_scripted_server_plays_its_script_and_records_the_requests() -> None:
    slow = Send(b"HTTP/1.1 200 OK\r\n\r\nrest", piece=3)
    script: list[list[Action]] = [
        [Expect(b"GET /a"), respond(body=b"one"), Expect(b"PUT /b"), respond("204 No Content"), ExpectClose()],
        [Expect(lambda request: request.headers["x-id"] == "7"), slow, Close()],
        [Expect(b"GET"), Reset()],
    ]
    with ScriptedServer(script) as server:
        first = http.client.HTTPConnection(LOOPBACK, server.port)
        first.request("GET", "/a")
        assert first.getresponse().read() == b"one"
        first.request("PUT", "/b", body=iter([b"chu", b"nked"]))
        assert first.getresponse().status == 204
        first.close()
        second = http.client.HTTPConnection(LOOPBACK, server.port)
        second.request("GET", "/c", headers={"X-Id": "7"})
        assert second.getresponse().read() == b"rest"
        third = http.client.HTTPConnection(LOOPBACK, server.port)
        third.request("GET", "/d")
        with pytest.raises(ConnectionResetError):
            third.getresponse()
        server.assert_consumed()
        assert [request.target for request in server.all_requests] == ["/a", "/b", "/c", "/d"]
        assert server.all_requests[1].body == b"chunked"


def test_scripted_server_over_tls(authority: Authority) -> None:
    with ScriptedServer([[Expect(b"GET /a"), respond(body=b"secret"), ExpectClose()]], tls=authority) as server:
        with urllib3.PoolManager(ca_certs=str(authority.bundle), retries=False) as pool:
            assert pool.request("GET", f"{server.endpoint}/a").data == b"secret"
        server.assert_consumed()


def test_scripted_server_reports_what_was_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.scripted.PATIENCE", 0.2)
    with ScriptedServer([[Expect(b"GET /a"), respond()], [Expect()]]) as server:
        connection = http.client.HTTPConnection(LOOPBACK, server.port)
        connection.request("GET", "/a")
        connection.getresponse().read()
        connection.close()
        with pytest.raises(ScriptMismatchError, match="connection 1: 1 instructions unused"):
            server.assert_consumed()


def test_scripted_server_reports_a_wrong_request() -> None:
    with ScriptedServer([[Expect(b"GET /a"), respond()]]) as server:
        connection = http.client.HTTPConnection(LOOPBACK, server.port)
        connection.request("GET", "/b")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
        with pytest.raises(ScriptMismatchError, match="expected b'GET /a'"):
            server.assert_consumed()


def test_scripted_server_reports_connections_beyond_its_script() -> None:
    with ScriptedServer([]) as server:
        with socket.create_connection((LOOPBACK, server.port)) as sock:
            assert sock.recv(1) == b""
        with pytest.raises(ScriptMismatchError, match="1 connections more"):
            server.assert_consumed()


def test_proxy_counts_and_relays(nginx_server: NginxServer) -> None:
    nginx_server.add_object("proxied/object", b"y" * 300_000)
    with FaultProxy(nginx_server.endpoint) as proxy, urllib3.PoolManager(retries=False) as pool:
        for _ in range(3):
            assert pool.request("GET", f"{proxy.endpoint}/proxied/object").data == b"y" * 300_000
        assert (proxy.tally.connections, proxy.tally.requests) == (1, 3)
        assert proxy.tally.bytes_down > 900_000


@pytest.mark.parametrize(
    "settings",
    [{"cut_after": 5000}, {"cut_after": 5000, "reset": True}, {"reset": True}, {"refuse": True}],
    ids=["cut", "cut by reset", "reset", "refused"],
)
def test_proxy_faults_strike_once(nginx_server: NginxServer, settings: dict[str, Any]) -> None:
    fault = Fault(**settings)
    nginx_server.add_object("proxied/object", b"y" * 300_000)
    with FaultProxy(nginx_server.endpoint) as proxy, urllib3.PoolManager(retries=False) as pool:
        proxy.plan(fault)
        with pytest.raises(urllib3.exceptions.HTTPError):
            pool.request("GET", f"{proxy.endpoint}/proxied/object")
        assert pool.request("GET", f"{proxy.endpoint}/proxied/object").data == b"y" * 300_000
        proxy.assert_planned_faults_happened()


def test_proxy_stalls(nginx_server: NginxServer) -> None:
    nginx_server.add_object("proxied/object", b"y" * 300_000)
    with FaultProxy(nginx_server.endpoint) as proxy:
        proxy.plan(Fault(stall_after=1000), Fault(reset=True))
        with pytest.raises(urllib3.exceptions.HTTPError):
            urllib3.request("GET", f"{proxy.endpoint}/proxied/object", retries=False, timeout=0.3)
        with pytest.raises(AssertionError, match="never happened"):
            proxy.assert_planned_faults_happened()


def test_a_held_port_is_free_for_its_server_alone() -> None:
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(hold_port()) for _ in range(50)]
        assert len({port_of(holder) for holder in holders}) == 50
        for holder in holders:
            assert not accepts(LOOPBACK, port_of(holder))
            with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
                stranger.bind((LOOPBACK, port_of(holder)))
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind((LOOPBACK, port_of(holder)))
                server.listen()
                assert accepts(LOOPBACK, port_of(holder))


def test_servers_start_in_parallel() -> None:
    servers = [NginxServer() for _ in range(4)]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len({server.endpoint for server in servers}) == 4
        assert all(urllib3.request("GET", server.endpoint, retries=False).status == 403 for server in servers)
    finally:
        for server in servers:
            server.stop()


def test_no_stray_is_left_when_the_owner_is_killed() -> None:
    script = (
        "import time\n"
        "from tests.servers.moto_server import MotoServer\n"
        "server = MotoServer().start()\n"
        "print(server.endpoint.rpartition(':')[2], server.folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[2]
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root)
    assert owner.stdout is not None
    port, folder = owner.stdout.readline().split()
    assert accepts(LOOPBACK, int(port))
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (accepts(LOOPBACK, int(port)) or Path(folder).exists()):
        time.sleep(0.02)
    assert not accepts(LOOPBACK, int(port))
    assert not Path(folder).exists()
