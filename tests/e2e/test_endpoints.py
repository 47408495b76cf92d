"""Two services with different settings in one process, told apart by the endpoint that a URI names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3dlio.client import Client
from s3dlio.errors import NetworkError
from tests.e2e.conftest import Cli
from tests.servers.certs import Authority
from tests.servers.moto_server import MotoServer


@pytest.fixture(scope="module")
def private(authority: Authority) -> Iterator[MotoServer]:
    """A second service: TLS with a certificate of a private authority."""
    with MotoServer(tls=authority, threads=4) as server:
        yield server


@pytest.fixture
def configured(
    moto_server: MotoServer, private: MotoServer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """The URIs of a bucket on each of the two, and a configuration file that says how to reach the two."""
    plain, secure = (server.env["AWS_ENDPOINT_URL"].partition("://")[2] for server in (moto_server, private))
    config = tmp_path / "config.toml"
    config.write_text(
        f'[endpoint."https://{secure}"]\ns3.access_key_id = "own"\ns3.secret_access_key = "very-secret"\n'
        f's3.region = "us-east-1"\ns3.request_checksum_calculation = "when_supported"\n'
        f'http.ca_bundle = "{authority.bundle}"\n'
        f'[endpoint."{plain}"]\ns3.addressing = "path"\ns3.region = "us-east-1"\n'
    )
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")  # moto refuses to make a bucket for a request that is signed for it
    monkeypatch.setenv("S3DLIO_CONFIG", str(config))
    return f"s3://{plain}/two-endpoints", f"s3://{secure}/two-endpoints"


def test_two_services_with_settings_of_their_own(
    configured: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client() as client:
        for bucket in configured:
            client.create_bucket(bucket)
            client.put_bytes(f"{bucket}/a", bucket.encode())
        for bucket in configured:
            assert client.get(f"{bucket}/a") == bucket.encode()
            assert client.list(f"{bucket}/", recursive=True) == [f"{bucket}/a"]
        plain, secure = configured
        client.copy(f"{plain}/a", f"{secure}/copied")
        assert client.get(f"{secure}/copied") == plain.encode()
    monkeypatch.delenv("S3DLIO_CONFIG")
    with (
        Client(s3={"tls_ports": secure.split("/")[2].rpartition(":")[2]}, retry={"max_attempts": 1}) as client,
        pytest.raises(NetworkError, match="not trusted"),
    ):
        client.get(f"{secure}/a")


def test_the_command_uses_and_shows_them(configured: tuple[str, str], cli: Cli) -> None:
    secure = configured[1]
    cli("create-bucket", secure)
    cli("ls", f"{secure}/")
    shown = cli("config").out
    title = f'endpoint."https://{secure.split("/")[2]}"'
    assert f"{title}.s3.region" in shown
    assert f"{title} of configuration file " in shown
    assert "very-secret" not in shown
