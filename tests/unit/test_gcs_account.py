"""Names, endpoints and credentials of Google Cloud Storage; nothing here sends a request to it."""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.memory.sources import MemorySource
from s3dlio.net.message import Request
from s3dlio.stores.cloud.percent import encode_segment
from s3dlio.stores.cloud.tokens import Token, Tokens
from s3dlio.stores.gcs import GcsAccount, GcsStore
from s3dlio.stores.gcs.headers import key_fields
from s3dlio.stores.gcs.resumable import _Session
from s3dlio.stores.registry import open_store
from s3dlio.stores.sdk.gcs import GcsSdkStore
from s3dlio.types import Conditions
from s3dlio.uri import parse
from tests.threads import run_in_threads


def settings_of(environ: dict[str, str] | None = None, **gcs: Any) -> Settings:
    return Settings.resolve(environ or {}, gcs=gcs)


# -- names


@pytest.mark.parametrize("name", ["abc", "a-b_c", "my.bucket.example", "1abc2", "a" * 63, ".".join(["b" * 60] * 3)])
def test_names_of_buckets(name: str) -> None:
    assert open_store(parse(f"gs://{name}/key"), settings_of(anonymous=True)).root == f"gs://{name}"


@pytest.mark.parametrize(
    "name", ["ab", "Abc", "-abc", "abc-", "_abc", "a..b", "a.-b", "192.168.5.4", "a" * 64, ".".join(["b" * 60] * 4)]
)
def test_names_that_no_bucket_has(name: str) -> None:
    with pytest.raises(errors.InvalidURIError, match="name of a bucket") as caught:
        open_store(parse(f"gs://{name}/key"), settings_of())
    assert caught.value.hint


@pytest.mark.parametrize("key", [".", "..", "n" * 1025, "ü" * 513])
def test_names_that_no_object_has(key: str) -> None:
    for backend in ("native", "sdk"):
        store = open_store(parse("gs://bucket"), settings_of(anonymous=True, backend=backend))
        for act in (store.get, store.head, store.delete):
            with pytest.raises(errors.InvalidURIError):
                act(key)


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("plain-1_2.3~4", "plain-1_2.3~4"),
        ("a/b", "a%2Fb"),
        ("../x", "..%2Fx"),
        ("a//b", "a%2F%2Fb"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("line\nfeed", "line%0Afeed"),
        ("plain\n", "plain%0A"),
        ("ü/日", "%C3%BC%2F%E6%97%A5"),
        ("a b+c", "a%20b%2Bc"),
    ],
)
def test_names_in_paths(key: str, encoded: str) -> None:
    assert encode_segment(key) == encoded
    store = GcsStore(GcsAccount(settings_of(anonymous=True)), "bucket")
    assert store.service.path(key) == f"/storage/v1/b/bucket/o/{encoded}"


def test_versions_are_data() -> None:
    store = GcsStore(GcsAccount(settings_of(anonymous=True)), "bucket")
    read = store.service.read_request("k", (), Conditions(version_id="1&alt=json\r\na: b"))
    assert read.query == "alt=media&generation=1%26alt%3Djson%0D%0Aa%3A%20b"
    assert store.service.delete_request("k", "1 HTTP/1.1").query == "generation=1%20HTTP%2F1.1"


def test_names_that_are_no_text() -> None:
    store = GcsStore(GcsAccount(settings_of(anonymous=True)), "bucket")
    with pytest.raises(errors.InvalidURIError, match="Unicode"):
        store.get("\ud800")


# -- endpoints


def test_backends() -> None:
    assert isinstance(open_store(parse("gs://bucket"), settings_of(anonymous=True)), GcsStore)
    environ = {"S3DLIO_GCS_BACKEND": "sdk", "S3DLIO_GCS_ANONYMOUS": "1"}
    assert isinstance(open_store(parse("gcs://bucket"), settings_of(environ)), GcsSdkStore)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "https://storage.googleapis.com"),
        ({"GOOGLE_CLOUD_UNIVERSE_DOMAIN": "apis.example"}, "https://storage.apis.example"),
        ({"STORAGE_EMULATOR_HOST": "localhost:4443"}, "http://localhost:4443"),
        ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:4443/"}, "http://127.0.0.1:4443"),
        ({"GCS_ENDPOINT_URL": "https://proxy.example/gcs", "STORAGE_EMULATOR_HOST": "x:1"}, "https://proxy.example/gcs"),
    ],
)
def test_endpoints(environ: dict[str, str], url: str) -> None:
    account = GcsAccount(settings_of(environ))
    assert account.url == url
    assert account.anonymous == url.startswith("http:")
    assert url in repr(account)


def test_an_endpoint_below_a_path() -> None:
    store = GcsStore(GcsAccount(settings_of(endpoint_url="http://proxy.example/gcs")), "bucket")
    assert store.service.path("k") == "/gcs/storage/v1/b/bucket/o/k"
    with pytest.raises(errors.ConfigError):
        GcsAccount(settings_of(endpoint_url="http://proxy.example/?a=b"))


def test_a_plain_head() -> None:
    account = GcsAccount(settings_of(anonymous=True))
    head = account.service.signer.render(Request(account.service, "GET", "/p", "q=1", (("range", "bytes=0-1"),)))
    lines = head.decode().split("\r\n")
    assert lines[0] == "GET /p?q=1 HTTP/1.1"
    assert lines[1] == "host: storage.googleapis.com"
    assert "range: bytes=0-1" in lines
    assert not any(line.startswith("authorization") for line in lines)


# -- credentials


class TokenServer:
    """Google's token service: gives a token for every signed assertion."""

    def __init__(self) -> None:
        self.assertions: list[str] = []
        self.status = 200
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                owner.assertions.append(parse_qs(body)["assertion"][0])
                answer = {"access_token": f"tok-{len(owner.assertions)}", "expires_in": 3600, "token_type": "Bearer"}
                if owner.status != 200:
                    answer = {"error": "invalid_grant", "error_description": f"bad {body}"}
                data = json.dumps(answer).encode()
                self.send_response(owner.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/token"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    server = TokenServer()
    server.thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    server.thread.join()


@pytest.fixture
def key_file(tmp_path: Path, token_server: TokenServer) -> Path:
    """The file of a service account, as Google gives them out."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    path = tmp_path / "key.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "file-project",
                "private_key_id": "id",
                "private_key": pem,
                "client_email": "robot@file-project.iam.gserviceaccount.com",
                "token_uri": token_server.url,
            }
        )
    )
    return path


def test_a_service_account(key_file: Path, token_server: TokenServer) -> None:
    account = GcsAccount(settings_of({"GOOGLE_APPLICATION_CREDENTIALS": str(key_file)}))
    assert account.tokens is not None
    assert [account.tokens(), account.tokens()] == ["tok-1", "tok-1"]
    assert account.project() == "file-project"
    account.tokens.forget()
    assert account.tokens() == "tok-2"
    head = account.service.signer.render(Request(account.service, "GET", "/"))
    assert b"\r\nauthorization: Bearer tok-2\r\n" in head
    assert len(token_server.assertions) == 2
    assert "tok-2" not in f"{account!r} {account.tokens!r} {vars(account.tokens)!r}"


def test_credentials_go_to_their_own_universe_only(key_file: Path, token_server: TokenServer) -> None:
    other = GcsAccount(settings_of(credentials_file=str(key_file), universe_domain="apis.example"))
    assert other.tokens is not None
    with pytest.raises(errors.ConfigError, match=r"of the universe 'googleapis\.com', the endpoint is of"):
        other.tokens()
    assert not token_server.assertions
    key_file.write_text(json.dumps({**json.loads(key_file.read_text()), "universe_domain": "apis.example"}))
    account = GcsAccount(settings_of(credentials_file=str(key_file)))
    assert account.url == "https://storage.apis.example"
    assert account.tokens is not None
    assert account.tokens()
    with pytest.raises(errors.ConfigError, match="is no domain"):
        GcsAccount(settings_of(universe_domain="x/.evil.example"))


def test_a_service_account_that_google_refuses(key_file: Path, token_server: TokenServer) -> None:
    token_server.status = 400
    account = GcsAccount(settings_of(credentials_file=str(key_file)))
    assert account.tokens is not None
    with pytest.raises(errors.PermissionDeniedError) as caught:
        account.tokens()
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.hint
    for secret in (token_server.assertions[0], "assertion"):
        assert secret not in f"{error} {error!r} {error.__cause__!r}"


def test_credentials_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = GcsAccount(settings_of())
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(errors.PermissionDeniedError) as caught:
        account.credentials()
    assert "S3DLIO_GCS_ANONYMOUS" in str(caught.value.hint)
    for content in ("no json", '{"type": "service_account", "private_key": "SECRET"}', '{"type": "odd"}', None):
        path = tmp_path / "key.json"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(errors.ConfigError) as wrong:
            GcsAccount(settings_of(credentials_file=str(path))).credentials()
        assert "SECRET" not in str(wrong.value)
        assert str(path) in str(wrong.value)


class ActAs:
    """What google-auth's impersonated credentials are asked for."""

    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, **arguments: Any) -> None:
        self.made.append(arguments)


def test_impersonation(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth.impersonated_credentials.Credentials", ActAs)
    environ = {
        "GOOGLE_APPLICATION_CREDENTIALS": str(key_file),
        "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "other@project.iam.gserviceaccount.com",
    }
    assert isinstance(GcsAccount(settings_of(environ)).credentials(), ActAs)
    (made,) = ActAs.made
    assert made["target_principal"] == "other@project.iam.gserviceaccount.com"
    assert made["target_scopes"] == ["https://www.googleapis.com/auth/devstorage.full_control"]
    assert made["source_credentials"].service_account_email.startswith("robot@")


def test_a_session_elsewhere_gets_no_token(key_file: Path, token_server: TokenServer) -> None:
    store = GcsStore(GcsAccount(settings_of(credentials_file=str(key_file))), "bucket")
    session = _Session(store.service, "k", MemorySource(memoryview(b"x")), [])
    place = "/upload?upload_id=secret"
    for host, token in (("storage.googleapis.com", True), ("other.example", False)):
        session._place = session._find(f"https://{host}{place}")
        request = session._request("bytes */1", None)
        head = request.service.signer.render(request)
        assert head.startswith(f"PUT {place} HTTP/1.1\r\nhost: {host}\r\n".encode())
        assert (b"authorization" in head) == token
    for wrong in (f"http://storage.googleapis.com{place}", place, f"ftp://x{place}"):
        with pytest.raises(errors.ProtocolError) as caught:
            session._find(wrong)
        assert "secret" not in str(caught.value)
    assert "secret" not in repr(session)


def test_a_session_elsewhere_is_refused_where_it_would_need_the_customers_key(
    key_file: Path, token_server: TokenServer
) -> None:
    store = GcsStore(GcsAccount(settings_of(credentials_file=str(key_file))), "bucket")
    session = _Session(store.service, "k", MemorySource(memoryview(b"x")), key_fields(b"k" * 32))
    session._place = session._find("https://storage.googleapis.com/upload?upload_id=1")
    assert b"x-goog-encryption-key" in store.account.service.signer.render(session._request("bytes */1", None))
    with pytest.raises(errors.UnsupportedOperationError, match="customer's key"):
        session._find("https://other.example/upload?upload_id=1")


def test_a_project() -> None:
    assert GcsAccount(settings_of({"GOOGLE_CLOUD_PROJECT": "mine"}, anonymous=True)).project() == "mine"
    account = GcsAccount(settings_of(anonymous=True))
    with pytest.raises(errors.ConfigError, match="project") as caught:
        GcsStore(account, "bucket").create_container()
    assert "GOOGLE_CLOUD_PROJECT" in str(caught.value)


def test_an_http_endpoint_gets_no_token(key_file: Path, token_server: TokenServer) -> None:
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(key_file), "GCS_ENDPOINT_URL": "http://localhost:1"}
    account = GcsAccount(settings_of(environ))
    assert account.tokens is None
    assert b"authorization" not in account.service.signer.render(Request(account.service, "GET", "/"))
    assert token_server.assertions == []


# -- links


@pytest.mark.parametrize("backend", ["native", "sdk"])
@pytest.mark.parametrize("key", ["plain", "a//b/../c d+%2F/ü"])
def test_a_link_is_signed(key_file: Path, token_server: TokenServer, backend: str, key: str) -> None:
    settings = settings_of(credentials_file=str(key_file), backend=backend)
    store = open_store(parse("gs://bucket/"), settings)
    parts = urlsplit(store.presign(key, "put", 600, version_id="5"))
    assert (parts.scheme, parts.netloc, unquote(parts.path)) == ("https", "storage.googleapis.com", f"/bucket/{key}")
    unsigned, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    query = dict(parse_qsl(unsigned))
    assert (query["generation"], query["X-Goog-Expires"]) == ("5", "600")
    canonical = f"PUT\n{parts.path}\n{unsigned}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    scope = query["X-Goog-Credential"].partition("/")[2]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"GOOG4-RSA-SHA256\n{query['X-Goog-Date']}\n{scope}\n{digest}"
    key_of_file = serialization.load_pem_private_key(json.loads(key_file.read_text())["private_key"].encode(), None)
    public = key_of_file.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert token_server.assertions == []


def test_links_that_cannot_be(tmp_path: Path, key_file: Path) -> None:
    store = open_store(parse("gs://bucket/"), settings_of(credentials_file=str(key_file)))
    for arguments in (("POST",), ("GET", 0), ("GET", 604_801), ("GET", True)):
        with pytest.raises(errors.ConfigError):
            store.presign("k", *arguments)
    with pytest.raises(errors.ConfigError, match="anonymous"):
        open_store(parse("gs://bucket/"), settings_of(anonymous=True)).presign("k")
    login = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}
    (tmp_path / "login.json").write_text(json.dumps(login))
    user = open_store(parse("gs://bucket/"), settings_of(credentials_file=str(tmp_path / "login.json")))
    with pytest.raises(errors.ConfigError, match="cannot sign"):
        user.presign("k")


# -- tokens


def test_a_token_is_fetched_once_by_many_threads() -> None:
    fetched: list[int] = []

    def fetch() -> Token:
        fetched.append(1)
        time.sleep(0.05)
        return Token("t", time.time() + 3600)

    tokens = Tokens(fetch)
    run_in_threads(lambda _: tokens(), range(8))
    assert len(fetched) == 1


def test_a_renewal_that_fails_keeps_the_old_token(caplog: pytest.LogCaptureFixture) -> None:
    failed = threading.Event()
    answers = [Token("old", time.time() + 300)]

    def fetch() -> Token:
        if answers:
            return answers.pop()
        failed.set()
        raise RuntimeError("secret")

    tokens = Tokens(fetch)
    assert [tokens(), tokens()] == ["old", "old"]
    assert failed.wait(10)
    deadline = time.monotonic() + 10
    while not caplog.records and time.monotonic() < deadline:
        time.sleep(0.01)
    assert tokens() == "old"
    assert "could not be renewed" in caplog.text
    assert "secret" not in caplog.text


def test_a_token_at_its_end_is_renewed_at_once() -> None:
    answers = [Token("second", time.time() + 3600), Token("first", time.time() + 30)]
    tokens = Tokens(lambda: answers.pop())
    assert [tokens(), tokens(), tokens()] == ["first", "second", "second"]
