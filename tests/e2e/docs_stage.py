"""What the examples of the documents find: objects, files, names, and figures that suit a test.

Examples speak of a user's buckets and variables. ``NAMES`` are those that a page uses without making them (and
``texts``, as below, that are known only then), ``TEXTS`` what is written instead of sizes and times that take long,
``APART`` what is not run, with the reason.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import certifi
import numpy as np
import pytest

import s3dlio
from s3dlio.formats import build_tfrecord

BUCKETS = (
    "bucket",
    "bucket-1",
    "bucket-2",
    "data",
    "bench",
    "models",
    "ckpt",
    "runs",
    "test-bucket",
    "other",
    "container",
)


def prepare(folder: Path) -> None:
    """Buckets with a few objects, and the files that examples read."""
    for bucket in BUCKETS:
        s3dlio.create_bucket(f"s3://{bucket}")
    objects = [(f"s3://bucket/train/{n:05}.bin", bytes([n]) * 512) for n in range(6)]
    objects += [(f"s3://data/corpus/part-000{n}.npz", b"n" * 100) for n in (1, 2)]
    objects += [
        ("s3://data/notes.txt", b"notes"),
        ("s3://data/old/a.tmp", b"x"),
        ("s3://bucket/k", b"k"),
    ]
    s3dlio.put_many(objects)
    for name in (
        "data/a.npz",
        "data/b.npz",
        "corpus/part-0001.npz",
        "corpus/part-0002.npz",
        "results/r.txt",
        "file",
        "tree/a/b.txt",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"n" * 100)


def nothing(*_: Any) -> None:
    """What a program would do with a sample."""


def _logs(*names: str) -> None:
    for name in names:
        s3dlio.init_op_log(name)
        for _ in range(8):
            s3dlio.get_many(s3dlio.list("s3://bucket/train/", recursive=True))
        s3dlio.finalize_op_log()


def _analyze() -> dict[str, Any]:
    _logs("ops.tsv.zst", "a.tsv.zst", "b.tsv.zst", "agent-1.tsv.zst", "before.tsv.zst", "after.tsv.zst")
    return {}


def _replay() -> dict[str, Any]:
    _logs("ops.tsv.zst", "a.zst", "b.zst")
    s3dlio.copy("s3://bucket/train/", "s3://test-bucket/run1/train/", recursive=True)
    s3dlio.copy("s3://bucket/train/", "s3://test-bucket/train/", recursive=True)
    return {"MyExecutor": s3dlio.S3dlioExecutor}


def _oplogs() -> dict[str, Any]:
    s3dlio.put_many([(f"s3://bucket/train/more-{n}", b"more") for n in range(40)])
    return {}


def _api() -> dict[str, Any]:
    return {"uris": s3dlio.list("s3://bucket/train/", recursive=True), "train": nothing}


def _batches() -> dict[str, Any]:
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as archive:
        for name in ("000123.jpg", "000123.cls", "000124.jpg", "000124.cls"):
            archive.addfile(tarfile.TarInfo(name))
    s3dlio.delete("s3://bucket/train/", recursive=True)
    s3dlio.put_many([
        ("s3://bucket/images/0001.jpg", b"jpg"),
        ("s3://bucket/tokens.bin", bytes(8192)),
        ("s3://bucket/shards/train-000007.tar", shard.getvalue()),
        ("s3://bucket/train/a.tfrecord", build_tfrecord([bytes(100)] * 8)),
    ])  # fmt: skip
    pyarrow = pytest.importorskip("pyarrow")
    parquet = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"label": [1, 2]}), parquet)
    s3dlio.put_bytes("s3://container/table/a.parquet", parquet.getvalue())
    return {"step": 0, "log": logging.getLogger("example")}


def _checkpoints() -> dict[str, Any]:
    store = s3dlio.CheckpointStore("s3://bucket/run")
    store.save(100, 1, "torch", b"state")
    metas = [store.writer(world_size=4, rank=rank).save_distributed_shard(100, 1, "torch", b"d") for rank in range(4)]
    return {"data": b"state", "rank": 0, "chunks": [b"one", b"two"], "metas": metas}


def _cli() -> dict[str, Any]:
    s3dlio.CheckpointStore("s3://data/run").save(1, 1, "torch", b"state")
    boto3.client("s3").put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    s3dlio.put_bytes("s3://data/notes.txt", b"older")
    (latest, *_) = s3dlio.list_versions("s3://data/notes.txt")
    s3dlio.delete("s3://data/notes.txt")
    for uri in ("old/a.tmp", "old/b.tmp"):
        s3dlio.put_bytes(f"s3://data/{uri}", b"x")
    Path("commands.txt").write_text("ls s3://data/\n")
    keys = "aws_access_key_id = archive\naws_secret_access_key = archive\n"
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(f"[profile archive]\n{keys}")
    return {"texts": {"3sL4kqtJ": latest.version_id, "/etc/ssl/private-ca.pem": certifi.where()}}


def _cluster() -> dict[str, Any]:
    s3dlio.put_bytes("s3://bucket/data/a", b"a")
    return {}


def _state() -> Any:
    torch = pytest.importorskip("torch")
    return {"weight": torch.zeros(8)}


def _dcp() -> dict[str, Any]:
    return {"state": _state(), "step": 7}


def _exactly_once() -> dict[str, Any]:
    comm = SimpleNamespace(allgather=lambda value: [value])
    return {"train": nothing, "time_to_stop": lambda: True, "rank": 0, "world_size": 1, "comm": comm}


def _files() -> dict[str, Any]:
    (Path.cwd() / "data" / "names.txt").write_text("one\ntwo\n")
    return {}


def _formats() -> dict[str, Any]:
    s3dlio.put_bytes("s3://bucket/train.tfrecord", build_tfrecord([bytes(100)] * 8))
    return {}


def _fsspec() -> dict[str, Any]:
    pandas = pytest.importorskip("pandas")
    s3dlio.put_bytes("s3://bucket/table.csv", b"x,y\n1,2\n")
    s3dlio.put_bytes("s3://bucket/dir/a", b"a")
    parquet = io.BytesIO()
    pandas.DataFrame({"x": [1]}).to_parquet(parquet)
    s3dlio.put_bytes("s3://bucket/table.parquet", parquet.getvalue())
    return {}


def _tensors() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    tensors = {name: torch.zeros(2000, 128) for name in names}
    s3dlio.save_safetensors(tensors, "s3://models/llama/model.safetensors")
    s3dlio.save_safetensors(tensors, "data/model.safetensors")
    model = SimpleNamespace(load_state_dict=nothing, state_dict=lambda: tensors)
    Path("tmp/model").mkdir(parents=True)
    Path("tmp/model/saved_model.pb").write_bytes(b"graph")
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    weights, moments = {"w": np.ones(3)}, {"m": np.zeros(3)}
    state = {"params": weights, "opt": moments, "step": np.array(0)}
    return {"model": model, "torch": torch, "params": weights, "opt_state": moments, "state": state}


def _writers() -> dict[str, Any]:
    (Path.cwd() / "data").joinpath("file").write_bytes(b"x")
    return {"chunks": [b"one", b"two"]}


def clear() -> None:
    """What a page leaves in the process."""
    s3dlio.finalize_op_log()
    Path(os.environ["AWS_CONFIG_FILE"]).unlink(missing_ok=True)
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "README.md": lambda: {"train_on": nothing, "data": b"data"},
    "analyze.md": _analyze,
    "api.md": _api,
    "batches.md": _batches,
    "checkpoints.md": _checkpoints,
    "cli.md": _cli,
    "cluster.md": _cluster,
    "dcp.md": _dcp,
    "exactly_once.md": _exactly_once,
    "files.md": _files,
    "formats.md": _formats,
    "fsspec.md": _fsspec,
    "oplogs.md": _oplogs,
    "replay.md": _replay,
    "s3torchconnector.md": lambda: {"decode": nothing},
    "tensors.md": _tensors,
    "writers.md": _writers,
}

TEXTS: dict[str, dict[str, str]] = {
    "README.md": {"-n 1000 -s 8MiB": "-n 3 -s 8KiB", "-d 30s -j 1,8,64": "--objects 8 --size 4KiB -d 30s -j 1,8"},
    "api.md": {"num=1000, size=4 << 20": "num=3, size=4 << 10", "procs=8": "procs=2"},
    "batches.md": {"az://account/c/": "az://account/container/", "123_456": "5", "samples[7]": "samples[1]"},
    "benchmarking.md": {
        "--objects 256": "--objects 8",
        "--objects 10000": "--objects 20",
        "bench mixed s3://bucket/": "bench mixed s3://bucket/ --objects 8",
        "1MiB:30": "8KiB:30",
    },
    "cli.md": {
        "-n 10000 -s 1MiB": "-n 4 -s 1KiB",
        "-n 16 -s 64MiB": "-n 2 -s 64KiB",
        "-n 100 -s 20MiB": "-n 2 -s 64KiB",
        "file:///mnt/disk/": "file:///data/",
    },
    "analyze.md": {"skip_warmup=30": "skip_warmup=0.001"},
    "datagen.md": {"256 << 20": "1 << 20", "16 << 40": "8 << 20"},
    "replay.md": {"s3://old=s3://new": "s3://bucket=s3://bucket-1"},
    "tuning.md": {"--size 1MiB": "--size 1KiB"},
    "writers.md": {'open("data"': 'open("file"'},
}

#: A page, or a page and the beginning of an example or a line -> why it is not run.
APART: dict[str, str] = {
    "dlio.md": "needs DLIO and MPI",
    "gpu.md": "needs a GPU",
    "profiling.md: py-spy": "needs py-spy",
    "s3.md: s3dlio.get": "an account of AWS",
}
