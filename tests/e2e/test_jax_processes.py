"""A JAX program of several processes: each saves and loads what its devices have of sharded arrays."""

from __future__ import annotations

import multiprocessing
import os
import socket

import numpy as np
import pytest

from s3dlio.checkpoint.tree_loader import load_tree
from s3dlio.checkpoint.trees import save_tree
from s3dlio.errors import AlreadyExistsError, S3dlioError
from tests.servers import Server

PROCESSES = 2
DEVICES = 2  # of each process
BASE = "s3://jax-processes/run"


def process_of_a_job(number: int, port: int, environ: dict[str, str]) -> None:
    """One process: saves arrays of several shardings, and loads them with others."""
    os.environ.update(environ)
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    import s3dlio

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    jax.distributed.initialize(f"127.0.0.1:{port}", PROCESSES, number)
    assert jax.process_count() == PROCESSES
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("x", "y"))
    whole = expected()
    specs = {"rows": ("x",), "columns": (None, "y"), "both": ("x", "y"), "copied": (), "rest": ("y",)}

    def sharded(spec: tuple[str | None, ...], value: np.ndarray) -> jax.Array:
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    tree = {name: sharded(specs[name], value) for name, value in whole.items() if name != "plain"}
    save_tree({**tree, "plain": whole["plain"], "step": 5}, BASE, compression="planes")
    other = {"rows": (None, "x"), "columns": ("y", "x"), "both": (), "copied": ("x",), "rest": ()}
    like = {
        name: jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=NamedSharding(mesh, PartitionSpec(*other[name])))
        for name, value in tree.items()
    }
    for wanted in (tree, like):
        found = load_tree(BASE, wanted)
        for name, array in found.items():
            assert array.sharding == wanted[name].sharding
            for shard in array.addressable_shards:
                assert np.array_equal(np.asarray(shard.data), whole[name][shard.index])
    with pytest.raises(AlreadyExistsError if number == 0 else S3dlioError, match="there is a tree already"):
        save_tree(tree, BASE)
    s3dlio.default_client().close()
    jax.distributed.shutdown()


def expected() -> dict[str, np.ndarray]:
    chance = np.random.default_rng(1)
    shapes = {"rows": (6, 4), "columns": (4, 8), "both": (8, 6), "copied": (4,), "rest": (10,), "plain": (3,)}
    return {name: chance.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def test_each_process_saves_and_loads_its_parts(
    moto_server: Server, monkeypatch: pytest.MonkeyPatch, fresh_settings: None
) -> None:
    pytest.importorskip("jax")
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    import s3dlio

    s3dlio.create_bucket("s3://jax-processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    jobs = [
        context.Process(target=process_of_a_job, args=(number, port, moto_server.env)) for number in range(PROCESSES)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * PROCESSES
    found = load_tree(BASE)
    assert found.pop("step") == 5
    whole = expected()
    assert found.keys() == whole.keys()
    assert all(np.array_equal(found[name], value) for name, value in whole.items())
    names = [uri.removeprefix(f"{BASE}/") for uri in s3dlio.list(f"{BASE}/")]
    assert len(names) == PROCESSES + 1  # replicated parts are written once
    assert sum(s3dlio.stat(f"{BASE}/{name}")["size"] for name in names if name.endswith(".bin")) < 2 * 4 * 150
