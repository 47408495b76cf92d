"""Settings of single endpoints: which of them win, where they are used, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.config import settings
from s3dlio.config.endpoints import name_of
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError
from s3dlio.stores.s3 import S3Store
from s3dlio.stores.s3.account import S3Account
from s3dlio.stores.s3.sigv4 import SigV4Signer, UnsignedSigner

HERE = "127.0.0.1:9000"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    settings.reset_configured()
    yield
    settings.reset_configured()


@pytest.fixture
def resolve(tmp_path: Path) -> Any:
    """Settings from the text of a configuration file and variables."""

    def read(text: str, environ: dict[str, str] | None = None, **arguments: Any) -> Settings:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return Settings.resolve({**(environ or {}), "S3DLIO_CONFIG": str(path), "S3DLIO_LOAD_DOTENV": "0"}, **arguments)

    return read


def account(found: Settings, uri: str) -> S3Account:
    store = Client(found).store_for(uri)[0]
    assert isinstance(store, S3Store)
    return store.service.account


def keys_of(found: Settings) -> tuple[str | None, str | None, str | None, str | None]:
    s3 = found.s3
    return s3.profile, s3.access_key_id, s3.secret_access_key, s3.session_token


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Host:9000", "host:9000"), ("http://host", "host:80"), ("https://HOST/gate/way", "host:443"),
        ("https://host:9000", "host:9000"), ("[::1]:9000", "[::1]:9000"), ("http://[::1]", "[::1]:80"),
        ("[0:0:0:0:0:0:0:1]:9000", "[::1]:9000"), ("http://[FE80::1%25eth0]", "[fe80::1%25eth0]:80"),
    ],
)  # fmt: skip
def test_the_name_of_an_endpoint_is_its_host_and_port(written: str, name: str) -> None:
    assert name_of(written) == name


def test_a_section_is_used_where_a_uri_or_the_endpoint_url_names_it(resolve: Any) -> None:
    section = f'[endpoint."{HERE}"]\ns3.region = "one"\nhttp.read_timeout = 3\nrange.chunk = "1MiB"\n'
    text = f'[s3]\nregion = "all"\n{section}'
    found = resolve(text)
    named = account(found, f"s3://{HERE}/bucket/key")
    assert (named.region, named.settings.http.read_timeout, named.settings.range.chunk) == ("one", 3.0, 1 << 20)
    assert account(found, "s3://127.0.0.1:9001/bucket/key").region == "all"
    by_url = resolve(text, s3={"endpoint_url": f"http://{HERE}/"})
    assert account(by_url, "s3://bucket/key").region == "one"
    assert account(by_url, "s3://127.0.0.1:9001/bucket/key").region == "all"


def test_a_table_called_by_a_url_says_how_to_reach_its_host(resolve: Any) -> None:
    found = resolve('[endpoint."https://gate.test:9000/s3"]\ns3.addressing = "virtual"\n')
    store, _ = Client(found).store_for("s3://gate.test:9000/bucket/key")
    assert store.service.account.endpoint_url == "https://gate.test:9000/s3"  # type: ignore[attr-defined]
    service, path = store.service.account.service("bucket")  # type: ignore[attr-defined]
    assert (service.pool.name, path) == ("https://bucket.gate.test:9000", "/s3")


def test_what_is_set_for_tls_is_not_for_plain_text(resolve: Any) -> None:
    found = resolve(f'[endpoint."https://{HERE}"]\ns3.session_token = "t"\ns3.region = "there"\n')
    assert found.at(f"https://{HERE}").s3.region == "there"
    assert found.at(HERE).s3.region == "there"
    assert found.at(f"http://{HERE}") == found


def test_a_uri_that_names_the_server_of_the_endpoint_url_means_that_url(resolve: Any) -> None:
    found = resolve("", {"AWS_ENDPOINT_URL": "https://gate.test:9000/s3"})
    assert account(found, "s3://gate.test:9000/b/k").endpoint_url == "https://gate.test:9000/s3"
    assert account(found, "s3://other.test:9000/b/k").endpoint_url == "http://other.test:9000"


def test_it_wins_over_the_environment_and_yields_to_the_program(resolve: Any) -> None:
    text = f'[endpoint."{HERE}"]\ns3.region = "section"\nhttp.read_timeout = 3\n'
    environ = {"AWS_REGION": "environment", "S3DLIO_READ_TIMEOUT_SECS": "9"}
    found = resolve(text, environ)
    assert (found.s3.region, found.at(HERE).s3.region) == ("environment", "section")
    assert found.at(HERE).origin("s3.region").startswith(f'endpoint."{HERE}" of configuration file')
    argued = resolve(text, environ, s3={"region": "argument"}).at(HERE)
    assert (argued.s3.region, argued.http.read_timeout, argued.origin("s3.region")) == ("argument", 3.0, "argument")
    settings.configure("s3", {"region": "configured"})
    assert resolve(text, environ).at(HERE).s3.region == "configured"


AMBIENT = {"AWS_ACCESS_KEY_ID": "ambient", "AWS_SECRET_ACCESS_KEY": "ambient", "AWS_SESSION_TOKEN": "ambient"}


def test_credentials_of_an_endpoint_replace_all_others(resolve: Any) -> None:
    keys = f'[endpoint."{HERE}"]\ns3.access_key_id = "own"\ns3.secret_access_key = "own"\n'
    assert keys_of(resolve(keys, AMBIENT | {"AWS_PROFILE": "p"}).at(HERE)) == (None, "own", "own", None)
    profile = f'[endpoint."{HERE}"]\ns3.profile = "lab"\n'
    assert keys_of(resolve(profile, AMBIENT).at(HERE)) == ("lab", None, None, None)
    given = {"access_key_id": "given", "secret_access_key": "given"}
    assert keys_of(resolve(profile, AMBIENT, s3=given).at(HERE))[1:3] == ("given", "given")
    assert keys_of(resolve(f'[endpoint."{HERE}"]\ns3.region = "r"\n', AMBIENT).at(HERE))[1] == "ambient"


def test_anonymous_or_signed_as_the_endpoint_has_it(resolve: Any) -> None:
    text = f'[endpoint."{HERE}"]\ns3.anonymous = true\n[endpoint."other.test:9000"]\ns3.payload_signing = true\n'
    found = resolve(text, AMBIENT)
    assert isinstance(account(found, f"s3://{HERE}/b/k").service("b")[0].signer, UnsignedSigner)
    assert isinstance(account(found, "s3://other.test:9000/b/k").service("b")[0].signer, SigV4Signer)
    keys = f'[endpoint."{HERE}"]\ns3.access_key_id = "own"\ns3.secret_access_key = "own"\n'
    assert not resolve(keys, {"S3DLIO_S3_ANONYMOUS": "1"}).at(HERE).s3.anonymous


def test_checksums_and_signatures_are_those_of_the_endpoint(resolve: Any) -> None:
    text = (
        f'[endpoint."{HERE}"]\ns3.request_checksum_calculation = "when_supported"\n'
        's3.response_checksum_validation = "when_supported"\ns3.payload_signing = true\ns3.addressing = "virtual"\n'
    )
    client = Client(resolve(text, AMBIENT))

    def seen(uri: str) -> tuple[bool, bool, bool, str]:
        store, _ = client.store_for(uri)
        assert isinstance(store, S3Store)
        service, path = store.service.account.service("b")
        return store.service.sends_checksums, store.service.verifies, service.signer._sign_payload, path  # type: ignore[attr-defined]

    assert seen(f"s3://{HERE}/b/k") == (True, True, True, "")
    assert seen("s3://127.0.0.1:9001/b/k") == (False, False, False, "/b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("endpoint = 3\n", "tables"),
        ('[endpoint."h:1"]\ns3.regoin = "x"\n', "s3.regoin"),
        ('[endpoint."h:1"]\nregion = "x"\n', "unknown section 'region'"),
        ('[endpoint."h:1"]\nazure.key = "x"\n', "unknown section 'azure'"),
        ('[endpoint."h:1"]\nhttp.read_timeout = "long"\n', "http.read_timeout"),
        ('[endpoint."h:1"]\ns3.endpoint_url = "http://h:1"\n', "cannot be set there"),
        ('[endpoint."h:1"]\ns3 = 1\n', "section 's3'"),
        ('[endpoint]\n"h:1" = 1\n', "must hold settings"),
        ('[endpoint."host"]\ns3.region = "x"\n', "'host' is no endpoint"),
        ('[endpoint."h:99999"]\ns3.region = "x"\n', "no URL"),
        ('[endpoint."ftp://h:1"]\ns3.region = "x"\n', "no URL"),
        ('[endpoint."h:1"]\ns3.region = "x"\n[endpoint."http://H:1"]\ns3.region = "x"\n', "h:1 is given twice"),
    ],
)
def test_what_is_wrong_is_named(resolve: Any, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        resolve(text)
    assert "config.toml" in str(caught.value)


def test_every_value_is_shown_with_its_origin_and_no_secret(resolve: Any) -> None:
    text = (
        f'[endpoint."http://{HERE}"]\ns3.access_key_id = "hidden1"\ns3.secret_access_key = "hidden2"\n'
        'multipart.part_size = "8MiB"\ns3.addressing = "path"\n'
    )
    found = resolve(text)
    shown = {line.name: line for line in found.describe() if line.name.startswith("endpoint.")}
    title = f'endpoint."http://{HERE}"'
    assert {name.removeprefix(title): line.value for name, line in shown.items()} == {
        ".s3.access_key_id": "***", ".s3.secret_access_key": "***", ".s3.addressing": "path",
        ".multipart.part_size": "8MiB",
    }  # fmt: skip
    assert all(line.origin.startswith(f"{title} of configuration file /") for line in shown.values())
    assert "hidden" not in repr(found) + repr(found.at(HERE)) + "".join(map(repr, found.describe()))
    assert b"hidden" not in pickle.dumps(found)


def test_a_client_finds_the_secrets_of_its_endpoints_where_it_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[endpoint."{HERE}"]\ns3.access_key_id = "a"\ns3.secret_access_key = "hidden"\ns3.region = "r"\n')
    monkeypatch.setenv("S3DLIO_CONFIG", str(path))
    pickled = pickle.dumps(Client())
    again = pickle.loads(pickled).settings.at(HERE)
    assert (again.s3.secret_access_key, again.s3.region) == ("hidden", "r")
    path.write_text("")
    with pytest.raises(ConfigError, match="access_key_id of 127"):
        pickle.loads(pickled)
