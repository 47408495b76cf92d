"""Which account, which endpoint, which credentials; and that none of them is ever shown."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import time
from types import SimpleNamespace
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.stores import registry
from s3dlio.stores.azure import AzureAccount, AzureStore, credentials
from s3dlio.stores.azure.credentials import check_sas, parse_connection_string
from s3dlio.stores.registry import Stores, open_store
from s3dlio.types import Conditions
from s3dlio.uri import parse

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
SAS = "sv=2023-11-03&se=2030-01-01&sig=SECRETSIGNATURE"


def account(name: str = "myaccount", **azure: Any) -> AzureAccount:
    return AzureAccount(Settings.resolve(azure={"key": KEY, **azure}), name)


# -- where


def test_azure_is_the_default() -> None:
    found = account()
    assert found.url == "https://myaccount.blob.core.windows.net"
    assert found.base == ""
    assert found.is_azure


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://127.0.0.1:10000", "http://127.0.0.1:10000/myaccount"),
        ("http://127.0.0.1:10000/myaccount/", "http://127.0.0.1:10000/myaccount"),
        ("http://[::1]:10000", "http://[::1]:10000/myaccount"),
        ("http://localhost:10000", "http://localhost:10000/myaccount"),
        ("http://proxy.corp:8080", "http://proxy.corp:8080"),
        ("http://proxy.corp:8080/azure", "http://proxy.corp:8080/azure"),
        ("https://myaccount.blob.core.chinacloudapi.cn", "https://myaccount.blob.core.chinacloudapi.cn"),
    ],
)
@pytest.mark.parametrize("variable", ["AZURE_STORAGE_ENDPOINT", "AZURE_BLOB_ENDPOINT_URL"])
def test_endpoints(monkeypatch: pytest.MonkeyPatch, variable: str, endpoint: str, url: str) -> None:
    monkeypatch.setenv(variable, endpoint)
    assert account().url == url


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:10000/other", "https://other.blob.core.windows.net", "http://localhost/other"]
)
def test_the_endpoint_of_another_account_is_refused(endpoint: str) -> None:
    with pytest.raises(errors.ConfigError, match=r"'other'.*'myaccount'"):
        account(endpoint_url=endpoint)


@pytest.mark.parametrize("endpoint", ["https://h/?sv=1&sig=SECRET", "https://user:SECRET@h/"])
def test_an_endpoint_with_secrets_is_refused(endpoint: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        account(endpoint_url=endpoint)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["ab", "UPPER", "with-dash", "evil.com", "x" * 25, "a/b", "a@b"])
def test_a_name_that_would_become_another_host_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidURIError, match="storage account"):
        account(name)


def test_an_account_must_be_named() -> None:
    with pytest.raises(errors.InvalidURIError, match="AZURE_STORAGE_ACCOUNT"):
        Stores(Settings.resolve()).container("az://")


# -- connection strings


@pytest.mark.parametrize(
    "text",
    [
        f"DefaultEndpointsProtocol=https;AccountName=myaccount;AccountKey={KEY};EndpointSuffix=core.windows.net",
        f"AccountName=myaccount;AccountKey={KEY}",
        f"DefaultEndpointsProtocol=http;AccountName=myaccount;AccountKey={KEY};EndpointSuffix=core.usgovcloudapi.net;",
        f"DefaultEndpointsProtocol=http;AccountName=myaccount;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:1/myaccount;",
        f"BlobEndpoint=https://myaccount.blob.core.windows.net;SharedAccessSignature={SAS};AccountName=myaccount",
    ],
)
def test_connection_strings_mean_what_the_sdk_takes_them_for(text: str) -> None:
    sdk = BlobServiceClient.from_connection_string(text)
    ours = AzureAccount(Settings.resolve(azure={"connection_string": text}), "myaccount")
    assert ours.url == sdk.url.partition("?")[0].rstrip("/")
    if ours.written_key is not None:
        assert ours.written_key == sdk.credential.account_key
    else:
        assert ours.sas == SAS


def test_the_connection_string_names_the_default_account() -> None:
    stores = Stores(Settings.resolve(azure={"connection_string": f"AccountName=myaccount;AccountKey={KEY}"}))
    store, key = stores.find("az://container/folder/key")
    assert (store.root, key) == ("az://container", "folder/key")
    assert isinstance(store, AzureStore)
    assert store.account.name == "myaccount"


def test_the_emulator_has_a_connection_string_of_its_own() -> None:
    found = AzureAccount(
        Settings.resolve(azure={"connection_string": "UseDevelopmentStorage=true"}), "devstoreaccount1"
    )
    assert found.url == "http://127.0.0.1:10000/devstoreaccount1"
    assert found.key is not None


@pytest.mark.parametrize("text", ["nonsense", "AccountKey=SECRET", "AccountName=a;SECRET"])
def test_damaged_connection_strings(text: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        parse_connection_string(text)
    assert "SECRET" not in str(caught.value)


def test_the_connection_string_of_another_account_is_no_help(no_identity: None) -> None:
    text = f"AccountName=other;AccountKey={KEY}"
    with pytest.raises(errors.PermissionDeniedError, match="connection string is about account 'other'"):
        AzureAccount(Settings.resolve(azure={"connection_string": text}), "myaccount")


# -- credentials


@pytest.fixture
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if azure-identity were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "azure.identity" else find(name, *rest)
    )


@pytest.fixture
def with_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if azure-identity were installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: object() if name == "azure.identity" else find(name, *rest)
    )


def test_no_credentials(no_identity: None) -> None:
    with pytest.raises(errors.PermissionDeniedError) as caught:
        AzureAccount(Settings.resolve(), "myaccount")
    for way in ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "S3DLIO_AZURE_ANONYMOUS", "pip install"):
        assert way in str(caught.value)


def test_identity_is_the_last_resort(with_identity: None) -> None:
    assert AzureAccount(Settings.resolve(), "myaccount").tokens is not None
    assert account().tokens is None
    assert account(anonymous=True).tokens is None


def test_identity_is_what_azure_identity_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("azure.identity")
    scopes: list[str] = []

    class Default:
        def get_token(self, scope: str) -> SimpleNamespace:
            scopes.append(scope)
            return SimpleNamespace(token="found", expires_on=time.time() + 3600)

    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Default)
    found = AzureAccount(Settings.resolve({}), "myaccount")
    request = AzureStore(found, "box").service.request("GET", "key")
    for _ in range(2):
        assert b"\r\nauthorization: Bearer found\r\n" in found.service.signer.render(request)
    assert scopes == ["https://storage.azure.com/.default"]


BEARER = ["managed-identity", "client-secret", "workload-identity"]


@pytest.mark.parametrize("kind", BEARER)
def test_tokens_need_https(with_identity: None, kind: str) -> None:
    with pytest.raises(errors.ConfigError, match=f"{kind} sends tokens of Microsoft Entra ID, which need https"):
        account(endpoint_url="http://127.0.0.1:1", credential=kind)


@pytest.mark.parametrize("kind", ["auto", "none"])
def test_an_endpoint_without_tls_is_used_without_credentials_where_there_are_none(kind: str) -> None:
    found = account(key=None, endpoint_url="http://127.0.0.1:1", credential=kind)
    assert (found.key, found.sas, found.tokens) == (None, None, None)


@pytest.mark.parametrize("kind", BEARER)
def test_a_kind_of_credentials_is_what_is_asked_for(
    with_identity: None, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made: list[str] = []

    class Credential:
        def get_token(self, scope: str) -> Any:
            return SimpleNamespace(token="TOKEN", expires_on=time.time() + 3600)

    def credential() -> Any:
        made.append(kind)
        return Credential()

    monkeypatch.setitem(credentials._CREDENTIALS, kind, credential)
    found = account(credential=kind, sas_token=SAS)  # a key and a signature are there, too
    assert (found.key, found.sas, made) == (None, None, [])
    assert found.tokens is not None
    assert (found.tokens(), made) == ("TOKEN", [kind])


def test_the_secret_of_a_client_is_named_where_it_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("azure.identity")
    monkeypatch.setenv("AZURE_TENANT_ID", "t")
    tokens = account(credential="client-secret").tokens
    assert tokens is not None
    with pytest.raises(errors.ConfigError, match="needs AZURE_CLIENT_ID, AZURE_CLIENT_SECRET"):
        tokens()


def test_only_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.ConfigError, match="AZURE_STORAGE_SAS_TOKEN"):
        account(credential="sas")
    monkeypatch.setenv("S3DLIO_AZURE_SAS_TOKEN", "?" + SAS)
    found = account(credential="sas")
    assert (found.key, found.sas) == (None, SAS)


def test_no_credentials_at_all_though_there_are_some() -> None:
    nobody = account(credential="none", sas_token=SAS)
    assert (nobody.key, nobody.sas, nobody.tokens) == (None, None, None)


def test_what_is_more_explicit_wins() -> None:
    text = "AccountName=myaccount;AccountKey=b3RoZXI="
    both = account(sas_token=SAS, connection_string=text)
    assert (both.written_key, both.sas) == (KEY, None)
    signature = account(key=None, sas_token="?" + SAS, connection_string=text)
    assert (signature.key, signature.sas) == (None, SAS)
    nobody = account(anonymous=True, sas_token=SAS)
    assert (nobody.key, nobody.sas, nobody.tokens) == (None, None, None)


@pytest.mark.parametrize("key", ["not base64!", "abc", "SECRET-SECRET"])
def test_a_key_that_is_none(key: str) -> None:
    with pytest.raises(errors.ConfigError, match="base64") as caught:
        account(key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("text", ["", "?", "sv=1&se=2", "sig=SECRET with space", "sig=SECRET\r\nX: y"])
def test_a_signature_that_is_none(text: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        check_sas(text)
    assert "SECRET" not in str(caught.value)


# -- secrets


@pytest.mark.parametrize("azure", [{"key": KEY}, {"sas_token": SAS}])
def test_nothing_shows_a_secret(azure: dict[str, str]) -> None:
    settings = Settings.resolve(azure=azure)
    store = open_store(parse("az://myaccount/container/"), settings)
    assert isinstance(store, AzureStore)
    request = store.service.request("GET", "key")
    shown = [repr(store), repr(store.account), repr(request), repr(settings), repr(store.account.service.signer)]
    assert not any(secret in text for text in shown for secret in (KEY, SAS, "SECRETSIGNATURE"))
    assert b"SECRETSIGNATURE" not in pickle.dumps(settings)
    assert KEY.encode() not in pickle.dumps(settings)
    with pytest.raises(TypeError):
        copy.deepcopy(store)  # neither pickled nor copied: what it has is made again from the settings


# -- names


@pytest.mark.parametrize("name", ["ab", "UPPER", "a--b", "-ab", "ab-", "a_b", "x" * 64, "a.b", "$other"])
def test_names_that_no_container_has(name: str) -> None:
    with pytest.raises(errors.InvalidURIError, match="Azure container"):
        open_store(parse(f"az://myaccount/{name}/key"), Settings.resolve(azure={"key": KEY}))


@pytest.mark.parametrize("name", ["abc", "a-b-c", "123", "x" * 63, "$root", "$web", "$logs"])
def test_names_of_containers(name: str) -> None:
    store = open_store(parse(f"az://myaccount/{name}/key"), Settings.resolve(azure={"key": KEY}))
    assert store.root == f"az://myaccount/{name}"


@pytest.mark.parametrize("key", ["back\\slash", "x" * 1025, "..", "a/../b", "./a", "a/.", "../other/key"])
@pytest.mark.parametrize("backend", ["native", "sdk"])
def test_keys_that_azure_would_take_for_others(key: str, backend: str) -> None:
    store = open_store(parse("az://myaccount/container/"), Settings.resolve(azure={"key": KEY, "backend": backend}))
    for act in (
        store.get,
        store.head,
        store.delete,
        lambda key: store.put(key, b""),
        lambda key: store.delete_many([key]),
    ):
        with pytest.raises(errors.InvalidURIError):
            act(key)


def test_the_registry_knows_the_scheme() -> None:
    assert "az" in registry.FACTORIES


def test_versions_are_data() -> None:
    store = AzureStore(account(), "box")
    version = "1&comp=tags\r\nx-ms-meta-a: b"
    read = store.service.read_request("key", (), Conditions(version_id=version))
    for request in (read, store.service.delete_request("key", version)):
        assert request.query == "versionid=1%26comp%3Dtags%0D%0Ax-ms-meta-a%3A%20b"
