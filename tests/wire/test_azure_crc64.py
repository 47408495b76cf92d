"""The CRC64 of Azure, both ways, on a server scripted after its documentation; and on Azurite, which lacks it."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.memory.sinks import FileSink
from s3dlio.memory.sources import FileSource, MemorySource
from s3dlio.stores.azure import AzureStore, crc64
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.registry import open_store
from s3dlio.uri import parse
from tests.servers.azurite import ACCOUNT, ACCOUNT_KEY, AzuriteServer
from tests.servers.scripted import Action, Expect, ReceivedRequest, Reset, ScriptedServer, Send, respond
from tests.sinks import WriterSink

MIB = 1 << 20
DATA = b"0123456789" * 10


def reference(data: bytes) -> str:
    """Bit by bit, from the polynomial."""
    crc = (1 << 64) - 1
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x9A6C9329AC4BC9B5 if crc & 1 else 0)
    return base64.b64encode((crc ^ ((1 << 64) - 1)).to_bytes(8, "little")).decode()


def told(data: bytes) -> tuple[str, str]:
    return ("x-ms-content-crc64", reference(data))


def connect(endpoint: str, account: str = "account", key: str = "c2VjcmV0", **sections: Any) -> ObjectStore:
    settings = Settings.resolve(
        {},
        azure={"endpoint_url": endpoint, "key": key, "crc64": True, **sections.pop("azure", {})},
        retry={"max_attempts": 2, "base_delay": 0.0, "max_delay": 0.0},
        multipart={"max_in_flight": 1, **sections.pop("multipart", {})},
    )
    return open_store(parse(f"az://{account}/container/"), settings)


def play(script: list[Any], act: Callable[[ObjectStore], Any], **sections: dict[str, Any]) -> Any:
    """Let ``act`` use a store on a server with this script; every instruction must be used."""
    scripts: list[list[Action]] = script if isinstance(script[0], list) else [script]
    with ScriptedServer(scripts) as server:
        try:
            return act(connect(server.endpoint, **sections))
        finally:
            server.assert_consumed()


def expect(method: str, *absent: str, **fields: str) -> Expect:
    """A request with these fields (``_`` for ``-``) and without those."""

    def match(request: ReceivedRequest) -> bool:
        found = {name: request.headers.get(name.replace("_", "-")) for name in fields}
        return request.method == method and found == fields and not any(name in request.headers for name in absent)

    return Expect(match)


def created(*fields: tuple[str, str]) -> Send:
    return respond("201 Created", headers=[("ETag", '"1"'), *fields])


# -- the sum


@given(st.binary(max_size=300), st.integers(0, 300))
def test_it_is_that_of_the_polynomial(data: bytes, cut: int) -> None:
    assert crc64.crc64_base64(MemorySource(memoryview(data))) == reference(data)
    compute = crc64.implementation()
    assert compute(data[cut:], compute(data[:cut], 0)) == compute(data, 0)


def test_its_check_value() -> None:
    """That of azure-storage-extensions 0.1.0 as well."""
    assert int.from_bytes(base64.b64decode(reference(b"123456789")), "little") == 0xAE8B14860A799888


def test_a_file_has_the_sum_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    (tmp_path / "file").write_bytes(data + b"x")
    with (tmp_path / "file").open("rb") as file:
        assert crc64.crc64_base64(FileSource(file.fileno(), 0, len(data))) == crc64.crc64_base64(
            MemorySource(memoryview(data))
        )


# -- what is needed for it


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    crc64.implementation.cache_clear()
    monkeypatch.setitem(sys.modules, "awscrt.checksums", None)
    with pytest.raises(errors.MissingDependencyError, match=r"s3dlio\[azure-crc64\]"):
        connect("http://127.0.0.1:9")


def test_the_sdk_has_none() -> None:
    with pytest.raises(errors.ConfigError, match="native"):
        connect("http://127.0.0.1:9", azure={"backend": "sdk"})


# -- writing


def test_a_write_carries_it() -> None:
    carries = expect("PUT", "content-md5", "x-ms-blob-content-md5", x_ms_content_crc64=reference(DATA))
    for answer in (created(told(DATA)), created()):  # Azurite tells none
        play([carries, answer], lambda store: store.put("key", DATA))


def test_an_md5_is_kept_beside_it() -> None:
    md5 = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    carries = expect("PUT", "content-md5", x_ms_content_crc64=reference(b"data"), x_ms_blob_content_md5=md5)
    play([carries, created()], lambda store: store.put("key", b"data"), azure={"content_md5": True})


@pytest.mark.parametrize("code", ["Crc64Mismatch", "Md5Mismatch"])
def test_a_write_that_is_refused_for_it(code: str) -> None:
    refusal = respond("400 Bad Request", headers=[("x-ms-error-code", code)])
    with pytest.raises(errors.IntegrityError, match="nothing was changed") as caught:
        play([expect("PUT"), refusal], lambda store: store.put("key", DATA))
    assert (caught.value.code, caught.value.status, caught.value.uri) == (code, 400, "az://account/container/key")


@pytest.mark.parametrize("status", ["202 Accepted", "412 Precondition Failed"])
def test_a_damaged_blob_is_removed(status: str) -> None:
    script = [expect("PUT"), created(told(b"other")), expect("DELETE", if_match='"1"'), respond(status)]
    with pytest.raises(errors.IntegrityError, match="removed"):
        play(script, lambda store: store.put("key", DATA))


def put_in_blocks(store: ObjectStore) -> Any:
    return store.put("key", bytes(6 * MIB))


BLOCKS: dict[str, Any] = {"multipart": {"threshold": MIB, "part_size": 5 * MIB}}


def test_blocks_carry_it() -> None:
    first, second = (crc64.crc64_base64(MemorySource(memoryview(bytes(size)))) for size in (5 * MIB, MIB))
    script = [
        expect("PUT", "content-md5", x_ms_content_crc64=first), created(("x-ms-content-crc64", first)),
        expect("PUT", "content-md5", x_ms_content_crc64=second), created(("x-ms-content-crc64", second)),
        expect("PUT", "x-ms-content-crc64"), created(),
    ]  # fmt: skip
    play(script, put_in_blocks, **BLOCKS, azure={"content_md5": True})


def test_a_damaged_block_is_not_committed() -> None:
    with pytest.raises(errors.IntegrityError, match="nothing was changed"):
        play([expect("PUT"), created(told(b"other"))], put_in_blocks, **BLOCKS)


def test_a_damaged_block_of_a_stream_is_not_committed() -> None:
    def stream(store: ObjectStore) -> None:
        with store.writer("key", part_size=5 * MIB) as writer:
            writer.write(bytes(6 * MIB))

    crc = crc64.crc64_base64(MemorySource(memoryview(bytes(MIB))))
    script: list[Action] = [expect("PUT"), created(told(b"other")), expect("PUT"), created(("x-ms-content-crc64", crc))]
    with ScriptedServer([script[:2], script[2:]]) as server, pytest.raises(errors.IntegrityError):
        stream(connect(server.endpoint, **BLOCKS))
    assert not any("blocklist" in request.target for request in server.all_requests)


# -- reading

ASKS = "x_ms_range_get_content_crc64"


def part(data: bytes, first: int = 0, total: int = 1000, crc: bytes | None = None) -> Send:
    span = ("Content-Range", f"bytes {first}-{first + len(data) - 1}/{total}")
    return respond(
        "206 Partial Content", body=data, headers=[("ETag", '"1"'), span, told(data if crc is None else crc)]
    )


def test_a_range_is_compared() -> None:
    asks = expect("GET", **{ASKS: "true", "range": "bytes=5-104"})
    assert play([asks, part(DATA, 5)], lambda store: store.get_range("key", 5, 100)) == DATA
    with pytest.raises(errors.IntegrityError, match="CRC64"):
        play([asks, part(DATA, 5, crc=b"other")], lambda store: store.get_range("key", 5, 100))


def test_a_range_in_a_file_is_compared(tmp_path: Path) -> None:
    for crc in (DATA, b"other"):
        with (tmp_path / "file").open("wb+") as file:

            def read(store: ObjectStore) -> None:
                store.execute(store.read_call("key", FileSink(file.fileno(), 7), offset=5, length=100))

            script = [expect("GET", **{ASKS: "true"}), part(DATA, 5, crc=crc)]
            if crc == DATA:
                play(script, read)
            else:
                with pytest.raises(errors.IntegrityError, match="CRC64"):
                    play(script, read)


def test_a_range_that_breaks_off_is_compared_as_a_whole() -> None:
    def script(damage: bytes) -> list[Any]:
        whole = part(damage + DATA[1:], 0, crc=DATA).data
        rest = part(DATA[50:], 50, crc=b"not of the whole")
        return [
            [expect("GET", **{ASKS: "true"}), Send(whole[:-50]), Reset()],
            [expect("GET", range="bytes=50-99"), rest],
        ]

    assert play(script(b"0"), lambda store: store.get_range("key", 0, 100)) == DATA
    with pytest.raises(errors.IntegrityError, match="CRC64"):
        play(script(b"X"), lambda store: store.get_range("key", 0, 100))


def test_what_it_is_not_told_for() -> None:
    """Whole blobs, longer ranges, bytes that stream by, and ranges beyond the end."""
    silent = ASKS.replace("_", "-")
    play([expect("GET", silent), respond(body=DATA)], lambda store: store.get("key"))
    large = bytes(crc64.MOST + 1)
    play([expect("GET", silent), part(large, 0, len(large))], lambda store: store.get_range("key", 0, len(large)))
    sink = WriterSink(lambda data: None)
    play(
        [expect("GET", silent), part(DATA)],
        lambda store: store.execute(store.read_call("key", sink, offset=0, length=100)),
    )
    beyond = respond("416 Range Not Satisfiable", headers=[("Content-Range", "bytes */10")])
    assert play([expect("GET", **{ASKS: "true"}), beyond], lambda store: store.get_range("key", 50, 10)) == b""


# -- Azurite


def test_an_emulator_that_ignores_it_on_writes_and_refuses_it_on_reads(azurite_server: AzuriteServer) -> None:
    store = connect(azurite_server.account_url, ACCOUNT, ACCOUNT_KEY, **BLOCKS)
    assert isinstance(store, AzureStore)
    store.create_container()
    for size in (100, 6 * MIB):
        store.put("key", bytes(size))
        assert store.get("key") == bytes(size)
    with pytest.raises(errors.ServiceError, match="x-ms-range-get-content-crc64"):
        store.get_range("key", 10, 50)
    store.delete("key")
    store.delete_container()
