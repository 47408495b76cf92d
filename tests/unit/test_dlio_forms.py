"""What DLIO calls, in its very forms, on files, O_DIRECT files and S3; and what it loads from here by name."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest

import s3dlio
from tests.servers.moto_server import MotoServer

pytestmark = pytest.mark.usefixtures("root")
MIB = 1 << 20


@pytest.fixture(params=["file", "direct", "s3"])
def root(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None
) -> Iterator[str]:
    """A place, without a slash at its end; the endpoint of S3 is in the variable that DLIO sets, after the import."""
    if request.param != "s3":
        yield f"{request.param}://{tmp_path}/root"
        return
    server: MotoServer = request.getfixturevalue("moto_server")
    for name, value in server.env.items():
        monkeypatch.setenv(name.replace("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"), value)
    s3dlio.create_bucket("s3://dlio-forms")
    yield "s3://dlio-forms/root"
    s3dlio.delete("s3://dlio-forms/root/", recursive=True)


def npz(root: str, count: int) -> list[str]:
    """The data generation of unet3d: views, passed on as they are."""
    uris = [f"{root}/data/train/img_{number}_of_{count}.npz" for number in range(count)]
    for uri in uris:
        payload = s3dlio.generate_npz_bytes(shape=[64, 64, 1], dtype=np.dtype(np.float32).str, num_samples=1)
        assert len(payload) > 64 * 64 * 4
        s3dlio.put_bytes(uri, payload)
    return uris


def test_generated_data_is_listed_relative_to_its_folder(root: str) -> None:
    uris = npz(root, 3)
    listed = f"{root}/data/"
    found = s3dlio.list(listed, recursive=True)
    assert [uri[len(listed) :] for uri in found if uri.startswith(listed)] == [
        f"train/img_{n}_of_3.npz" for n in range(3)
    ]
    assert s3dlio.exists(uris[0])
    assert not s3dlio.exists(f"{root}/data/valid")
    with np.load(io.BytesIO(bytes(s3dlio.get(uris[0])))) as loaded:
        assert loaded["x"].shape == (64, 64, 1)


def test_training_reads(root: str) -> None:
    uris = npz(root, 5)
    size = len(s3dlio.get(uris[0]))
    assert {uri: len(data) for uri, data in s3dlio.get_many(uris, max_in_flight=min(64, len(uris)))} == dict.fromkeys(
        uris, size
    )
    for skip_head in (True, False):
        dataset = s3dlio.PyDataset.from_uris(uris)
        items = s3dlio.PyBytesAsyncDataLoader(dataset, {"prefetch": 64, "skip_head": skip_head}).items()
        seen = []
        while batch := items.collect_batch(2):
            assert len(batch) <= 2
            seen += [(item.uri, len(item)) for item in batch]
        assert sorted(seen) == [(uri, size) for uri in uris]


def test_parquet_reads(root: str) -> None:
    uri = f"{root}/data/train/part.parquet"
    table = pytest.importorskip("pyarrow").table({"a": list(range(4000))})
    sink = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(table, sink, row_group_size=1000)
    s3dlio.put_bytes(uri, sink.getbuffer())
    with pytest.warns(DeprecationWarning, match="configure_tokio_threads"):
        s3dlio.configure_tokio_threads()
    index = s3dlio.PyParquetIndex(col_indices=None, footer_cap=4 * MIB)
    index.ensure_indexed([uri], epoch=1, batch_size=64)
    size = s3dlio.stat(uri)["size"]
    assert size == len(sink.getbuffer())
    assert bytes(s3dlio.get_range(uri, size - 4, 4)) == b"PAR1"
    assert bytes(s3dlio.get_range(uri, offset=0, length=4)) == b"PAR1"
    with ThreadPoolExecutor(2) as pool:
        assert len(pool.submit(s3dlio.get_range, uri, 4, 100).result()) == 100
    assert len(s3dlio.parquet_get_rg(uri, 1, None, 4 * MIB, "arrow"))


def test_parquet_of_a_schema_is_written_as_it_is_made(root: str) -> None:
    pytest.importorskip("pyarrow")
    uri = f"{root}/data/train/schema.parquet"
    s3dlio.generate_and_write_parquet_schema_streaming(uri, [("a", 13), ("b", 128)], 256, 4)
    assert bytes(s3dlio.get_range(uri, 0, 4)) == b"PAR1"


def write_checkpoint(uri: str, name: str, size: int, chunks: int) -> None:
    """What the writer of a checkpoint does, in a process of its own, from memory that it shares."""
    memory: Any = shared_memory.SharedMemory(name=name)
    if urlparse(uri).scheme == "s3":
        writer: Any = s3dlio.MultipartUploadWriter.from_uri(uri, part_size=5 * MIB, max_in_flight=4, abort_on_drop=True)
        write = writer.write
    else:
        options = s3dlio.PyWriterOptions().with_buffer_size(size)
        direct = uri.startswith("direct")
        writer = (s3dlio.create_direct_filesystem_writer if direct else s3dlio.create_filesystem_writer)(uri, options)
        write = writer.write_chunk
    for _ in range(chunks):
        write(memory.buf[:size])
    if urlparse(uri).scheme == "s3":
        stats = writer.close()
        assert stats.get("total_bytes") == size * chunks
        assert stats.get("parts") == -(-size * chunks // (5 * MIB))
        assert stats.get("etag")
    else:
        writer.finalize()
    memory.close()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_checkpoints_are_written_by_another_process_and_read_in_ranges(root: str, start: str) -> None:
    uri, size, chunks = f"{root}/ck/global_epoch1_step1/rank_0.pt", 3 * MIB, 4
    s3dlio.put_bytes(f"{root}/ck/began", b"")  # this process has its threads and connections
    memory: Any = shared_memory.SharedMemory(create=True, size=size)
    context: Any = multiprocessing.get_context(start)
    try:
        memory.buf[:size] = os.urandom(size)
        expected = bytes(memory.buf[:size]) * chunks
        writer = context.Process(target=write_checkpoint, args=(uri, memory.name, size, chunks))
        writer.start()
        writer.join()
        assert writer.exitcode == 0
    finally:
        memory.close()
        memory.unlink()
    step = 5 * MIB
    spans = [(begin, min(step, len(expected) - begin)) for begin in range(0, len(expected), step)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda span: s3dlio.get_range(uri, *span), spans))
    assert b"".join(parts) == expected


def test_what_dlio_puts_may_be_the_buffer_of_a_file_in_memory(root: str) -> None:
    s3dlio.mkdir(f"{root}/images/")
    s3dlio.put_bytes(f"{root}/images/1.jpeg", io.BytesIO(b"jpeg").getbuffer())
    assert s3dlio.get(f"{root}/images/1.jpeg") == b"jpeg"
    s3dlio.delete(f"{root}/images/1.jpeg")
    assert not s3dlio.exists(f"{root}/images/1.jpeg")


def test_data_sets_go_to_workers(root: str) -> None:
    uris = npz(root, 2)
    assert len(pickle.loads(pickle.dumps(s3dlio.PyDataset.from_uris(uris)))) == 2
