"""Who we are and where S3 is: endpoints, addressing, and the order of credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, PermissionDeniedError
from s3dlio.stores.s3 import S3Account
from s3dlio.stores.sdk.boto_client import boto_client

KEYS = {"access_key_id": "AKIDKEYS", "secret_access_key": "secret"}


def account(**s3: object) -> S3Account:
    return S3Account(Settings.resolve(s3=s3))


def place(bucket: str, **s3: object) -> str:
    service, base = account(**KEYS, **s3).service(bucket)
    return service.pool.name + base


def test_aws_has_the_bucket_in_the_host_name() -> None:
    assert place("my-bucket", region="eu-west-1") == "https://my-bucket.s3.eu-west-1.amazonaws.com"
    assert place("my.bucket", region="eu-west-1") == "https://s3.eu-west-1.amazonaws.com/my.bucket"
    assert place("b-cn", region="cn-north-1") == "https://b-cn.s3.cn-north-1.amazonaws.com.cn"


def test_other_endpoints_have_it_in_the_path() -> None:
    assert place("b", endpoint_url="http://127.0.0.1:9000") == "http://127.0.0.1:9000/b"
    assert place("b", endpoint_url="http://127.0.0.1:9000/gate/way/") == "http://127.0.0.1:9000/gate/way/b"
    assert place("b", endpoint_url="http://s3.test", addressing="virtual") == "http://b.s3.test"


def test_a_uri_names_its_server() -> None:
    settings = Settings.resolve(s3={**KEYS, "endpoint_url": "http://127.0.0.1:9000"})
    assert S3Account(settings, "10.0.0.1:8080").endpoint_url == "http://10.0.0.1:8080"
    assert S3Account(settings, "10.0.0.1:443").endpoint_url == "https://10.0.0.1:443"


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY is not set"):
        account().credentials()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert account().credentials() == ("AKIDENV", "secret", "token")
    assert "secret" not in repr(account().credentials())


def test_no_keys_at_all() -> None:
    with pytest.raises(PermissionDeniedError, match="AWS_PROFILE"):
        account().credentials()


def test_nobody_is_asked_for_every_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for none takes seconds, where a metadata service does not answer."""
    asked: list[float] = []
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda self: asked.append(0.0))
    lonely = account()
    for _ in range(100):
        with pytest.raises(PermissionDeniedError):
            lonely.credentials()
    assert len(asked) == 1
    monkeypatch.setattr("s3dlio.stores.s3.credentials._LOOK_AGAIN", 0.0)
    with pytest.raises(PermissionDeniedError):
        lonely.credentials()
    assert len(asked) == 2


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile lab]\nregion = eu-lab-1\nendpoint_url = http://127.0.0.1:9999\n"
        "[profile broken]\ncredential_process = /bin/false\n"
    )
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = AKIDLAB\naws_secret_access_key = lab\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.usefixtures("profiles")
def test_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = account(profile="lab")
    assert lab.credentials().access_key == "AKIDLAB"
    assert lab.region == "eu-lab-1"
    assert lab.endpoint_url == "http://127.0.0.1:9999"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert account(profile="lab").credentials().access_key == "AKIDLAB"  # the program named it
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert account().credentials().access_key == "AKIDENV"
    with pytest.raises(ConfigError, match="nowhere"):
        account(profile="nowhere")


@pytest.mark.usefixtures("profiles")
def test_where_the_bucket_stands_may_be_said_by_the_profile(tmp_path: Path) -> None:
    with (tmp_path / "config").open("a") as config:
        config.write("[profile styled]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n")
    assert place("b-1", profile="styled") == "https://s3.eu-west-1.amazonaws.com/b-1"
    assert place("b-1", profile="styled", addressing="virtual") == "https://b-1.s3.eu-west-1.amazonaws.com"
    for said, style in (("auto", "path"), ("virtual", "virtual")):
        client = boto_client(account(profile="styled", addressing=said, **KEYS))
        assert client.meta.config.s3["addressing_style"] == style


@pytest.mark.usefixtures("profiles")
@pytest.mark.parametrize("name", ["request_checksum_calculation", "response_checksum_validation"])
def test_when_checksums_are_used(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"endpoint_url": "http://127.0.0.1:9"}
    assert account(**here).checksums(name) == "when_required"
    assert account(endpoint_url=None).checksums(name) == "when_supported"
    with (tmp_path / "config").open("a") as config:
        config.write(f"[profile checked]\n{name} = WHEN_SUPPORTED\n[profile odd]\n{name} = sometimes\n")
    assert account(profile="checked", **here).checksums(name) == "when_supported"
    assert account(profile="checked", **here, **{name: "when_required"}).checksums(name) == "when_required"
    with pytest.raises(ConfigError, match=f"{name} of the profile must be one of"):
        account(profile="odd", **here).checksums(name)
    monkeypatch.setenv(f"AWS_{name.upper()}", "WHEN_REQUIRED")  # in capitals, as Amazon's documents write it
    assert account(profile="checked", **here).checksums(name) == "when_required"


@pytest.mark.usefixtures("profiles")
def test_credentials_that_cannot_be_fetched() -> None:
    with pytest.raises(PermissionDeniedError, match="no credentials"):
        account(profile="broken").credentials()


@pytest.mark.usefixtures("profiles")
def test_what_else_a_profile_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "config").open("a") as config:
        config.write("[profile full]\nca_bundle = /lab.pem\nmax_attempts = 7\nendpoint_url = http://127.0.0.1:9\n")
        config.write("[profile deaf]\nignore_configured_endpoint_urls = true\nendpoint_url = http://127.0.0.1:9\n")
    full = account(profile="full").settings
    assert (full.http.ca_bundle, full.retry.max_attempts) == ("/lab.pem", 7)
    assert full.origin("http.ca_bundle") == full.origin("retry.max_attempts") == "profile full"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/mine.pem")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    mine = account(profile="full").settings
    assert (mine.http.ca_bundle, mine.retry.max_attempts) == ("/mine.pem", 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:8")
    assert account(profile="deaf").endpoint.is_aws
    assert account(profile="deaf", endpoint_url="http://127.0.0.1:7").endpoint_url == "http://127.0.0.1:7"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert account(profile="full").endpoint.is_aws


@pytest.mark.usefixtures("profiles")
@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_an_empty_name_of_a_profile_is_none(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")
    assert account(**KEYS).credentials().access_key == "AKIDKEYS"
    monkeypatch.setenv(variable, "lab")
    assert account().credentials().access_key == "AKIDLAB"


@pytest.mark.parametrize("region", ["x.evil.example", "us-west-2#mine", "-", "EU-WEST-1"])
def test_a_region_becomes_part_of_a_host_name_only_if_it_can(region: str) -> None:
    with pytest.raises(ConfigError, match="region"):
        account(region=region, **KEYS)


@pytest.mark.parametrize("name", ["garage", "RegionOne", "eu.lab_1"])
def test_other_services_call_their_regions_as_they_like(name: str) -> None:
    assert account(region=name, endpoint_url="http://127.0.0.1:9", **KEYS).region == name
