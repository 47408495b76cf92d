"""What the benchmarks share: local servers, and clients that know them and none of the user's accounts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from perf.contenders import AZURE_KEY, FOREIGN
from perf.measure import fill
from s3dlio.client import Client
from tests.servers import Server
from tests.servers.certs import make_authority
from tests.servers.moto_server import MotoServer
from tests.servers.nginx import NginxServer


@pytest.fixture(scope="session", autouse=True)
def _no_accounts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(FOREIGN):
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("S3DLIO_LOAD_DOTENV", "0")
        yield


def client_of(server: Server) -> Client:
    """A client of every cloud that *server* plays."""
    return Client(
        endpoint_url=server.endpoint,
        region="us-east-1",
        access_key_id="testing",
        secret_access_key="testing",
        ca_bundle=str(server.tls.bundle) if server.tls else None,
        azure={"endpoint_url": server.endpoint, "key": AZURE_KEY},
        gcs={"endpoint_url": server.endpoint, "anonymous": True},
    )


@pytest.fixture(scope="session")
def nginx(_no_accounts: None) -> Iterator[Client]:
    """A client of a server so fast that the client is what is measured."""
    with NginxServer() as server:
        fill(server)
        with client_of(server) as client:
            yield client


@pytest.fixture(scope="session")
def nginx_tls(_no_accounts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The same over TLS 1.3."""
    with NginxServer(tls=make_authority(tmp_path_factory.mktemp("authority"))) as server:
        fill(server)
        with client_of(server) as client:
            yield client


@pytest.fixture(scope="session")
def moto(_no_accounts: None) -> Iterator[Client]:
    """A client of a complete S3, which takes most of the time itself: for the verbs that nginx does not know."""
    with MotoServer() as server, client_of(server) as client:
        client.create_bucket("s3://bucket")
        yield client


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory of 200 files of 4 KiB."""
    for number in range(200):
        (tmp_path / f"{number:03}").write_bytes(os.urandom(4096))
    return tmp_path
