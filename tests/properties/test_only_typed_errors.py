"""Whatever settings, files and servers say, what leaves is an S3dlioError, and soon."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s3dlio import formats
from s3dlio.client import Client
from s3dlio.config.environment import CONFIG_FILE, DOTENV_SWITCH
from s3dlio.config.fields import fields_of
from s3dlio.config.settings import SECTIONS, Settings
from s3dlio.errors import S3dlioError
from s3dlio.stores.gcs import GcsAccount
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import S3Account
from s3dlio.uri import parse
from tests.servers.base import accepted

#: More digits than Python converts.
MANY_NINES = "9" * 5000
FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from([
        "0", "1", "-1", "auto", "true", MANY_NINES, "1e999", "nan", "http://", "http:///x", "http://[",
        "http://h:99999",
        "https://h", "http://a b", "http://user:pw@h", "h:1", "64MiB", "1 elephant", "\0", "${HOME}", "%zz", "\u0661",
    ]),
)  # fmt: skip
VARIABLES = [variable for kind in SECTIONS.values() for _, entry, _ in fields_of(kind) for variable in entry.variables]


@contextlib.contextmanager
def only_typed() -> Iterator[None]:
    with contextlib.suppress(S3dlioError):
        yield


# -- settings and files


@FEW
@given(st.dictionaries(st.sampled_from(VARIABLES), TEXT, max_size=8), st.sampled_from(["s3://b/", "az://a/cont/",
    "gs://bkt/"]))
def test_variables(environ: dict[str, str], uri: str) -> None:
    found, problems = Settings.inspect(environ)
    assert f"{list(found.describe())}{problems}"
    with only_typed():
        open_store(parse(uri), Settings.resolve(environ))


@FEW
@given(st.one_of(
    st.binary(max_size=60),
    st.builds("[{}]\n{} = {}\n".format, st.sampled_from([*SECTIONS, "endpoint", "x"]),
              st.sampled_from(["region", "threshold", "ca_bundle", "'h:1'", "x.y"]),
              st.sampled_from(["1", "'a'", "[[]]", "{}", MANY_NINES, "1e400", "1979-05-27", "inf"])).map(str.encode),
), st.binary(max_size=60))  # fmt: skip
@example(b"x = " + b"[" * 5000, b"")
def test_configuration_and_dotenv_files(tmp_path: Path, toml: bytes, dotenv: bytes) -> None:
    (tmp_path / "config.toml").write_bytes(toml)
    (tmp_path / "env").write_bytes(dotenv)
    environ = {CONFIG_FILE: str(tmp_path / "config.toml"), DOTENV_SWITCH: str(tmp_path / "env")}
    Settings.inspect(environ)
    with only_typed():
        Settings.resolve(environ)


LINES = [
    "[default]", "[profile r]", "[profile", "[sso-session my]", "region = x", "region", "= 3", "s3 =",
    "  addressing_style = path",
    "  addressing_style", "s3 = 1", "aws_access_key_id = A", "aws_secret_access_key = S",
    "aws_session_token = \u043a",
    "credential_process = echo {}", "credential_process = '", "role_arn = x", "source_profile = r",
    "source_profile = default",
    "mfa_serial = m", "credential_source = Nowhere", "sso_session = my", "sso_region = x",
    "sso_start_url = https://x.example",
    "sso_account_id = 1", "sso_role_name = r", "web_identity_token_file = /nonexistent", "endpoint_url = nonsense",
    "services = none", "max_attempts = many", "ca_bundle = /nonexistent", "use_fips_endpoint = maybe", "\x00",
    "\ufeff",
]  # fmt: skip


@FEW
@given(st.lists(st.sampled_from(LINES), max_size=10), st.lists(st.sampled_from(LINES), max_size=5),
       st.sampled_from(["", "r", "default"]))  # fmt: skip
def test_profiles(tmp_path: Path, config: list[str], credentials: list[str], name: str) -> None:
    (tmp_path / "config").write_text("\n".join(config), encoding="utf-8")
    (tmp_path / "credentials").write_text("\n".join(credentials), encoding="utf-8")
    environ = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SSO": "http://127.0.0.1:1",
        "AWS_MAX_ATTEMPTS": "1", "AWS_PROFILE": name,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environ.items():
            patch.setenv(variable, value)
        patch.setattr("getpass.getpass", _no_terminal)
        with only_typed():
            S3Account(Settings.resolve(environ)).credentials()


def _no_terminal(prompt: str = "") -> str:
    raise EOFError


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
    max_leaves=5,
)
ACCOUNT_FIELDS = ["client_email", "token_uri", "private_key", "client_id", "client_secret", "refresh_token",
    "audience",
                  "credential_source", "subject_token_type", "token_url", "universe_domain"]  # fmt: skip
KINDS = ["service_account", "authorized_user", "external_account", "impersonated_service_account", "x"]


@FEW
@given(st.one_of(
    st.binary(max_size=20),
    st.builds(lambda kind, fields: json.dumps({"type": kind, **fields}).encode(), st.sampled_from(KINDS),
              st.dictionaries(st.sampled_from(ACCOUNT_FIELDS), JSON)),
))  # fmt: skip
def test_files_of_google_credentials(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.json").write_bytes(content)
    with only_typed():
        GcsAccount(Settings.resolve({}, gcs={"credentials_file": str(tmp_path / "key.json")})).credentials()


# -- data


def _npz() -> bytes:
    return bytes(formats.build_multi_npz([("x", np.arange(9, dtype="<i4")), ("y", np.ones((2, 2)))]))


def _deflated() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.arange(99))
    return file.getvalue()


@pytest.fixture(scope="module")
def parquet() -> bytes:
    pytest.importorskip("pyarrow")
    return bytes(formats.generate_parquet_bytes(2, 5, 2))


DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6)


def damaged(data: bytes, damage: list[tuple[float, int]], cut: float) -> bytes:
    changed = bytearray(data)
    for place, value in damage:
        changed[int(place * (len(changed) - 1))] = value
    return bytes(changed[: int(cut * len(changed))])


class Memory:
    """One object (`formats.RangeReader`)."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def size(self, uri: str) -> int:
        return len(self.data)

    def read(self, uri: str, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@settings(max_examples=60)
@given(DAMAGE, st.one_of(st.just(1.0), st.floats(0, 1)))
def test_damaged_archives_and_records(damage: list[tuple[float, int]], cut: float) -> None:
    for archive in (_npz(), _deflated()):
        data = damaged(archive, damage, cut)
        with only_typed():
            formats.read_npz_bytes(data)
        with only_typed():
            formats.npz_names(data)
    records = damaged(bytes(formats.build_tfrecord_with_index(3, 20, b"x" * 60).data), damage, cut)
    with only_typed():
        list(formats.iter_tfrecords(records))
    with only_typed():
        formats.index_tfrecord_bytes(records)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DAMAGE, st.one_of(st.just(1.0), st.floats(0, 1)))
def test_damaged_parquet(parquet: bytes, damage: list[tuple[float, int]], cut: float) -> None:
    reader = Memory(damaged(parquet, damage, cut))
    formats.parquet_cache_clear()
    with only_typed():
        formats.parquet_rg_row_offsets("x", reader=reader)
    for decode in ("arrow", "raw"):
        with only_typed():
            formats.parquet_get_rg("x", 1, decode=decode, reader=reader)


def test_parquet_without_columns(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({}), tmp_path / "none.parquet")
    reader = Memory((tmp_path / "none.parquet").read_bytes())
    with only_typed():
        formats.parquet_get_rg(str(tmp_path), 0, reader=reader)


# -- servers


class Parrot:
    """A server that gives the same answer to every request, and closes."""

    def __init__(self) -> None:
        self.answer = b""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for connection in accepted(self._socket):
            with connection, contextlib.suppress(OSError):
                connection.settimeout(2)
                head = b""
                while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                    head += more
                connection.sendall(self.answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    made = Parrot()
    yield made
    made.close()


BODIES = [
    b"", b"data", b"null", b"[]", b"{}", b"1", b'"x"', b"[" * 5000, b"\xff\xfe<a/>", b"<html>no</html>", b"<Error>",
    b"<Error><Code>ExpiredToken</Code><Message>\xe9</Message></Error>", b"<Error><Code></Code></Error>",
    b'<?xml version="1.0"?><ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>',
    b"<ListBucketResult><Contents><Key>%zz</Key></Contents><IsTruncated>true</IsTruncated></ListBucketResult>",
    b"<ListBucketResult>\xe9</ListBucketResult>", b"<CopyObjectResult>",
    b"<Tagging><TagSet><Tag></Tag></TagSet></Tagging>",
    b"<DeleteResult><Error><Key>k</Key></Error></DeleteResult>",
    b"<ListAllMyBucketsResult><Bucket/></ListAllMyBucketsResult>",
    b"<EnumerationResults><Blobs><Blob><Name>caf\xe9</Name></Blob></Blobs></EnumerationResults>",
    b"<EnumerationResults><Blobs><Blob><Name>a</Name><Content-Length>9e9</Content-Length></Blob></Blobs></EnumerationResults>",
    b"<EnumerationResults><NextMarker>m</NextMarker></EnumerationResults>",
    b'{"items": null}', b'{"items": [{"size": "1"}]}', b'{"items": [{"name": "a", "size": "x"}]}',
    b'{"items": {"a": 1}}',
    b'{"items": [null]}', b'{"prefixes": 3}', b'{"size": "x", "name": "k"}', b'{"size": "3", "metadata": 3}',
    b'{"size": "3", "crc32c": 3}', b'{"error": {"errors": 3}}', b'{"error": 3}',
    b'{"error": {"errors": [{}], "message": []}}',
    b'{"done": true}', b'{"done": false, "rewriteToken": 3}', b'{"resource": null, "done": true}',
    b'{"nextPageToken": 3}',
    b"{" + b'"a":{' * 3000, b'{"size": ' + MANY_NINES.encode() + b"}",
]  # fmt: skip
FIELDS = [
    "Content-Length: 4", "Content-Length: 99", "Content-Length: x", "Content-Length: -1",
    f"Content-Length: {MANY_NINES}",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "ETag: \"e\"", "ETag: ", "ETag: \xe9",
    "Last-Modified: yesterday",
    "Last-Modified: Fri, 31 Feb 99999 00:00:00 GMT", "Date: x", "Date: Fri, 20 Nov 2026 23:52:48 GMT",
    "Content-Range: bytes 0-3/4",
    "Content-Range: bytes 9-3/x", "Content-Range: bytes */2", "Location: http://[", "Location: ftp://x",
    "Location: /other",
    "x-amz-bucket-region: eu-x", "x-amz-checksum-crc32c: !!", "x-amz-missing-meta: x",
    "x-amz-meta-a: =?utf-8?q?=E9?=",
    "x-goog-hash: crc32c=!!", "x-goog-generation: x", "x-goog-stored-content-length: x", "x-ms-blob-type: x",
    "x-ms-copy-status: x",
    "x-ms-copy-status: pending", "x-ms-copy-id: c", "Content-MD5: !!", "Content-Encoding: gzip", "Retry-After: 1e999",
    "Range: x",
    "x-ms-error-code: BlobNotFound", "Content-Type: multipart/mixed; boundary=b", "Connection: close", " folded",
    "no colon", ": x",
]  # fmt: skip
STATUSES = [100, 200, 201, 202, 204, 206, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 411, 412, 416, 417,
    429, 500, 501,
            503, 600, 99, 999]  # fmt: skip

Verb = Callable[[Any, str], Any]
VERBS: dict[str, Verb] = {
    "get": lambda client, uri: client.get(uri),
    "get_range": lambda client, uri: client.get_range(uri, 1, 3),
    "get_into": lambda client, uri: client.get_into(uri, bytearray(4)),
    "stat": lambda client, uri: client.stat(uri),
    "exists": lambda client, uri: client.exists(uri),
    "put_bytes": lambda client, uri: client.put_bytes(uri, b"data", metadata={"a": "b"}),
    "create_only": lambda client, uri: client.put_bytes(uri, b"data", if_none_match="*"),
    "delete": lambda client, uri: client.delete(uri),
    "delete_many": lambda client, uri: client.delete_many([uri, uri + "2"]),
    "list": lambda client, uri: client.list(uri[: uri.rindex("/") + 1], True),
    "sizes": lambda client, uri: [page.entries for page in client.store_for(uri)[0].list()],
    "copy": lambda client, uri: client.copy(uri, uri + "2"),
    "get_tags": lambda client, uri: client.get_tags(uri),
    "put_tags": lambda client, uri: client.put_tags(uri, {"a": "b"}),
    "create_bucket": lambda client, uri: client.create_bucket(uri[: uri.rindex("/")]),
    "delete_bucket": lambda client, uri: client.delete_bucket(uri[: uri.rindex("/")]),
    "list_containers": lambda client, uri: client.list_containers(uri[: uri.rindex("/")]),
    "get_many": lambda client, uri: client.get_many([uri, uri + "2"]),
    "get_many_outcomes": lambda client, uri: client.get_many_outcomes([uri]),
    "stat_many": lambda client, uri: client.stat_many([uri]),
    "writer": lambda client, uri: _write(client, uri),
    "stream": lambda client, uri: _stream(client, uri),
    "upload": lambda client, uri: _with_folder(lambda folder: client.upload(f"{folder}/", f"{uri}/", recursive=True)),
    "download": lambda client, uri: _with_folder(lambda folder: client.download(f"{uri}/", folder)),
    "sync": lambda client, uri: _with_folder(lambda folder: client.sync(f"{uri}/", f"{folder}/", delete=True)),
    "move": lambda client, uri: client.move(uri, f"{uri}2"),
}
BY_SDK = ("get", "get_range", "stat", "put_bytes", "delete", "delete_many", "list", "sizes", "copy", "list_containers")


def _with_folder(work: Callable[[str], Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "f").write_bytes(b"data")
        work(folder)


def _write(client: Client, uri: str) -> None:
    store, key = client.store_for(uri)
    with store.writer(key, part_size=5 << 20) as writer:
        writer.write(b"data")


def _stream(client: Client, uri: str) -> None:
    with client.create_stream_writer(uri, {"compression": "zstd", "part_size": 5 << 20}) as writer:
        writer.write(b"data")


def client_of(parrot: Parrot, **s3: Any) -> Client:
    return Client(
        s3=s3, endpoint_url=parrot.url, region="us-east-1", access_key_id="A", secret_access_key="S",
        azure={"endpoint_url": parrot.url, "key": "a2V5"}, gcs={"endpoint_url": parrot.url, "project": "p"},
        retry={"max_attempts": 1}, http={"read_timeout": 1, "connect_timeout": 1, "operation_timeout": 1},
    )  # fmt: skip


def draw_answer(data: st.DataObject) -> bytes:
    status = data.draw(st.sampled_from(STATUSES))
    body = data.draw(st.one_of(st.sampled_from(BODIES), st.binary(max_size=30)))
    fields = data.draw(st.lists(st.sampled_from(FIELDS), max_size=4, unique=True))
    if data.draw(st.booleans()):
        fields.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([f"HTTP/1.1 {status} X", *fields])
    return head.encode("latin-1") + b"\r\n\r\n" + body


ANY_ANSWER = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("uri", ["s3://bkt/k", "az://acc/cont/k", "gs://bkt/k"])
@settings(max_examples=8, suppress_health_check=ANY_ANSWER)
@given(data=st.data())
def test_answers(parrot: Parrot, verb: str, uri: str, data: st.DataObject) -> None:
    parrot.answer = draw_answer(data)
    with client_of(parrot) as client, only_typed():
        found = VERBS[verb](client, uri)
        if verb == "get_many_outcomes":
            assert all(isinstance(outcome, S3dlioError) or len(outcome) >= 0 for _, outcome in found)


@pytest.fixture(scope="module")
def sdk_clients(parrot: Parrot) -> Iterator[dict[str, Client]]:
    made = {backend: client_of(parrot, backend=backend) for backend in ("boto3", "arrow")}
    made["azure"] = Client(client_of(parrot).settings, azure={"backend": "sdk"})
    made["gcs"] = Client(client_of(parrot).settings, gcs={"backend": "sdk"})
    yield made
    for client in made.values():
        client.close()


@pytest.mark.parametrize("verb", BY_SDK)
@pytest.mark.parametrize(
    ("backend", "uri"), [("boto3", "s3://bkt/k"), ("arrow", "s3://bkt/k"), ("azure", "az://acc/cont/k"), ("gcs", "gs://bkt/k")]
)
@settings(max_examples=5, suppress_health_check=ANY_ANSWER)
@given(data=st.data())
def test_answers_to_sdks(
    parrot: Parrot, sdk_clients: dict[str, Client], verb: str, backend: str, uri: str, data: st.DataObject
) -> None:
    parrot.answer = draw_answer(data)
    with only_typed():
        VERBS[verb](sdk_clients[backend], uri)


def test_what_is_no_error_of_ours_leaves_as_it_is(tmp_path: Path) -> None:
    class Watcher:
        """A progress of the caller's that fails."""

        def add(self, total_objects: int, total_bytes: int) -> None:
            return None

        def advance(self, objects: int, bytes: int) -> None:
            fail()

        def close(self) -> None:
            return None

    def fail(*_: object) -> None:
        raise LookupError("of the caller")

    def uris() -> Iterator[str]:
        yield f"file://{tmp_path}/source/f"
        fail()

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_bytes(b"data")
    source, target = f"{tmp_path}/source/", f"file://{tmp_path}/target/"
    calls: list[Callable[[Client], Any]] = [
        lambda client: client.upload(source, target, recursive=True, progress=Watcher()),
        lambda client: client.sync(source, target[:-1] + "2/", on_action=fail),
        lambda client: client.get_many(uris()),
        lambda client: client.put_many((uri, b"data") for uri in uris()),
        lambda client: client.put_bytes(target + "x", type("Odd", (), {"__bytes__": fail})()),
    ]
    with Client() as client:
        for call in calls:
            with pytest.raises(LookupError, match="of the caller"):
                call(client)
