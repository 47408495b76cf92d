"""A ``.env`` file of a stranger in the current directory takes no secrets away."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError
from s3dlio.net.pool import pool_for_url
from s3dlio.stores.gcs import GcsAccount
from s3dlio.stores.gcs.credentials import GcsCredentials
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import S3Account
from s3dlio.uri import parse
from tests.servers.scripted import Expect, ScriptedServer, respond

SAS = "sv=2023-11-03&sig=CANARY"
STRANGER = "https://stranger.example"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("S3DLIO_LOAD_DOTENV", raising=False)
    return tmp_path


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDCANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CANARY")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "CANARY")


def write(folder: Path, *lines: str) -> None:
    (folder / ".env").write_text("\n".join(lines) + "\n")


def opened(uri: str, **arguments: Any) -> None:
    open_store(parse(uri), Settings.resolve(**arguments))


def test_nothing_of_the_environment_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "CANARY")
    write(folder, "AWS_REGION=a-${HOME}-b", "AWS_ENDPOINT_URL=http://stranger.example/${GITHUB_TOKEN}")
    found, problems = Settings.inspect()
    assert found.s3.endpoint_url == "http://stranger.example/${GITHUB_TOKEN}"
    assert "CANARY" not in f"{list(found.describe())}{problems}"


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("backend", ["native", "boto3", "arrow"])
def test_keys_from_elsewhere_are_not_sent_to_its_endpoint(folder: Path, backend: str) -> None:
    write(folder, f"AWS_ENDPOINT_URL={STRANGER}")
    with pytest.raises(ConfigError, match=r"s3\.endpoint_url comes from the dotenv file .*S3DLIO_TRUST_DOTENV"):
        opened("s3://b/", s3={"backend": backend})


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("line", ["S3_ENDPOINT_URIS=http://a.example,http://b.test", "S3_ENDPOINT_TEMPLATE=h{1...2}:9"])
def test_nor_are_they_to_its_endpoints(folder: Path, line: str) -> None:
    write(folder, line)
    with pytest.raises(ConfigError, match=r"s3\.endpoint_url comes from the dotenv file"):
        opened("s3://b/")
    with pytest.raises(ConfigError, match=r"s3\.endpoint_url comes from the dotenv file"):
        opened("s3://b/k", s3={"load_balance_strategy": "least_connections"})


@pytest.mark.usefixtures("keys")
def test_nor_without_tls_where_the_file_says_so(folder: Path) -> None:
    write(folder, "S3DLIO_S3_ENDPOINT_TLS_PORTS=9")
    with pytest.raises(ConfigError, match=r"s3\.tls_ports comes from the dotenv file"):
        opened("s3://b/", s3={"endpoints": "a:443,b:443"})


def test_keys_of_a_profile_are_not_sent_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "credentials").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = S\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    write(folder, f"AWS_ENDPOINT_URL={STRANGER}")
    with pytest.raises(ConfigError, match="credentials do not"):
        opened("s3://b/")
    write(folder, f"AWS_ENDPOINT_URL={STRANGER}", "AWS_PROFILE=default", "AWS_ACCESS_KEY_ID=A")
    with pytest.raises(ConfigError, match="credentials do not"):
        opened("s3://b/", s3={"profile": "default"})


@pytest.mark.usefixtures("keys")
def test_half_of_the_keys_in_the_file_is_not_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ["AWS_ACCESS_KEY_ID=mine", "AWS_SECRET_ACCESS_KEY=mine"]
    write(folder, f"AWS_ENDPOINT_URL={STRANGER}", *mine)
    with pytest.raises(ConfigError, match="credentials do not"):
        opened("s3://b/")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match="credentials do not"):  # the token is still that of the environment
        opened("s3://b/")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    opened("s3://b/")


def test_endpoint_and_keys_of_the_same_file_work_also_in_another_process(folder: Path) -> None:
    answer = respond(body=b"data", headers=[("ETag", '"e"')])
    with ScriptedServer([[Expect(), answer, Expect(), answer]]) as server:
        write(folder, f"AWS_ENDPOINT_URL={server.endpoint}", "AWS_ACCESS_KEY_ID=mine", "AWS_SECRET_ACCESS_KEY=mine")
        client = Client()
        assert client.get("s3://b/k") == b"data"
        assert pickle.loads(pickle.dumps(client)).get("s3://b/k") == b"data"


@pytest.mark.usefixtures("keys")
def test_who_trusts_the_file_says_so_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, f"AWS_ENDPOINT_URL={STRANGER}", "S3DLIO_TRUST_DOTENV=1")
    with pytest.raises(ConfigError, match="credentials do not"):
        opened("s3://b/")
    monkeypatch.setenv("S3DLIO_TRUST_DOTENV", "1")
    opened("s3://b/")


@pytest.mark.usefixtures("keys")
def test_an_account_is_not_shared_with_one_whose_endpoint_the_file_names(folder: Path) -> None:
    opened("s3://b/", s3={"endpoint_url": STRANGER})
    write(folder, f"AWS_ENDPOINT_URL={STRANGER}")
    with pytest.raises(ConfigError, match="credentials do not"):
        opened("s3://b/")


def test_without_credentials_any_endpoint_will_do(folder: Path) -> None:
    write(folder, f"AWS_ENDPOINT_URL={STRANGER}", "STORAGE_EMULATOR_HOST=localhost:1", "AZURE_STORAGE_ENDPOINT=http://h")
    opened("s3://b/", s3={"anonymous": True})
    opened("gs://bucket/")
    opened("az://account/container/")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("uri", ["s3://b/", "gs://bucket/", "az://account/container/"])
def test_certificates_and_ports_are_held_to_the_same(folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", SAS)
    write(folder, "REQUESTS_CA_BUNDLE=stranger.pem")
    with pytest.raises(ConfigError, match=r"http\.ca_bundle comes from"):
        opened(uri)


@pytest.mark.usefixtures("keys")
def test_a_server_of_a_uri_keeps_its_tls(folder: Path) -> None:
    write(folder, "S3DLIO_S3_ENDPOINT_TLS_PORTS=1")
    with pytest.raises(ConfigError, match=r"s3\.tls_ports comes from"):
        opened("s3://minio.example:443/b/")
    write(folder, "AWS_ENDPOINT_URL=http://minio.example:443")
    with pytest.raises(ConfigError, match=r"s3\.endpoint_url comes from"):
        opened("s3://minio.example:443/b/")


@pytest.mark.parametrize(
    "line",
    [
        f"AZURE_STORAGE_ENDPOINT={STRANGER}",
        f"AZURE_STORAGE_CONNECTION_STRING=BlobEndpoint={STRANGER};AccountName=account",
        "AZURE_STORAGE_CONNECTION_STRING=AccountName=account;EndpointSuffix=stranger.example",
    ],
)
def test_signatures_of_azure_stay_here(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    write(folder, line)
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", SAS)
    with pytest.raises(ConfigError, match="credentials do not"):
        opened("az://account/container/")
    write(folder, line, f"S3DLIO_AZURE_SAS_TOKEN={SAS}")
    monkeypatch.delenv("AZURE_STORAGE_SAS_TOKEN")
    opened("az://account/container/")


def test_tokens_of_azure_and_google_stay_here(folder: Path) -> None:
    write(folder, f"AZURE_STORAGE_ENDPOINT={STRANGER}", f"GCS_ENDPOINT_URL={STRANGER}")
    for uri in ("az://account/container/", "gs://bucket/"):
        with pytest.raises(ConfigError, match="credentials do not"):
            opened(uri)


def test_a_file_of_google_credentials_that_it_names_has_keys_of_its_own(folder: Path) -> None:
    """Other kinds name files to read and places to send them to."""
    stranger = {
        "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": STRANGER,
        "credential_source": {"file": "/etc/passwd"},
    }  # fmt: skip
    (folder / "adc.json").write_text(json.dumps(stranger))
    write(folder, "GOOGLE_APPLICATION_CREDENTIALS=adc.json")
    with pytest.raises(ConfigError, match=r"named by a \.env file"):
        GcsAccount(Settings.resolve()).credentials()


def test_files_profiles_and_proxies_of_other_programs_are_not_taken_from_it(folder: Path) -> None:
    (folder / "config").write_text("[default]\ncredential_process = touch asked\nregion = stranger\n")
    proxy = "http://stranger.example:1"
    write(folder, "AWS_CONFIG_FILE=config", "S3DLIO_CONFIG=config.toml", f"http_proxy={proxy}", f"https_proxy={proxy}")
    found = S3Account(Settings.resolve(s3={"anonymous": True}))
    assert found.region == "us-east-1"
    assert pool_for_url("http://plain.example", found.settings.http).proxy is None
    assert not (folder / "asked").exists()


@pytest.mark.usefixtures("keys")
def test_a_region_is_no_host(folder: Path) -> None:
    for region in ("x.stranger.example/", "x.stranger.example", "x@stranger", "a b"):
        write(folder, f"AWS_REGION='{region}'")
        with pytest.raises(ConfigError, match="region"):
            opened("s3://b/")


def test_files_without_an_end_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as stream:
        stream.truncate(2 << 20)
    for variables in ({"S3DLIO_LOAD_DOTENV": str(large)}, {"S3DLIO_CONFIG": "/dev/zero"}):
        with pytest.raises(ConfigError, match="larger than 1 MiB"):
            Settings.resolve(variables)
    for path in ("/dev/zero", str(large), str(tmp_path)):
        settings = Settings.resolve({"GOOGLE_APPLICATION_CREDENTIALS": path})
        with pytest.raises(ConfigError, match="cannot be read"):
            GcsCredentials(settings, None).found()
