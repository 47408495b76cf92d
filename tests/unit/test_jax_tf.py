"""Objects as arrays for JAX, and for TensorFlow where that is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import s3dlio
from s3dlio.errors import ConfigError, MissingDependencyError, ObjectNotFoundError
from s3dlio.jax_tf import JaxIterable, make_tf_dataset

COUNT = 12


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for number in range(COUNT):
        (tmp_path / f"{number:02}").write_bytes(bytes([number]) * (number % 3) * 40_000)
    return f"file://{tmp_path}/"


def test_a_sample_is_an_array_over_the_memory_it_was_received_in(folder: str) -> None:
    for _ in range(2):
        found = list(JaxIterable.from_prefix(folder, prefetch=4))
        assert [(len(array), set(array)) for array in found] == [
            ((number % 3) * 40_000, {number} if number % 3 else set()) for number in range(COUNT)
        ]
    assert {array.dtype for array in found} == {np.dtype(np.uint8)}
    assert not any(array.flags.writeable or (array.flags.owndata and len(array)) for array in found)


def test_writable_arrays_have_memory_of_their_own(folder: str) -> None:
    for array in JaxIterable(uri=folder, writable=True, batch_size=32):
        array += 1
    assert sum(int(array[0]) for array in JaxIterable(folder) if len(array)) == sum(n for n in range(COUNT) if n % 3)


def test_it_goes_on_where_a_state_says(folder: str) -> None:
    data = JaxIterable(folder, shuffle=True)
    whole = [len(array) for array in data]
    data.set_epoch(0)
    before = [len(array) for _, array in zip(range(5), data, strict=False)]
    again = JaxIterable(folder, shuffle=True)
    again.load_state_dict(data.state_dict())
    assert before + [len(array) for array in again] == whole


def test_transforms_and_options(folder: str) -> None:
    sizes = [40_000 * (number % 3) for number in range(COUNT)]
    assert list(JaxIterable(folder, transform=len, loader_opts={"prefetch": 0})) == sizes
    options = s3dlio.PyLoaderOptions().shard(1, 6).with_transform(len)
    assert list(JaxIterable(folder, loader_opts=options)) == [40_000] * 2
    with pytest.raises(ConfigError, match="prefetch"):
        JaxIterable(folder, prefetsh=1)
    with pytest.warns(DeprecationWarning, match="JaxIterable"):
        assert len(s3dlio.S3JaxIterable(folder)) == COUNT


def test_what_is_not_there_is_an_error(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match="missing"):
        JaxIterable(f"{folder}missing/")
    arrays = JaxIterable(folder)
    (tmp_path / "07").unlink()
    with pytest.raises(ObjectNotFoundError, match="/07"):
        list(arrays)


def test_jax_takes_the_arrays(folder: str) -> None:
    """In a process of its own: where JAX has threads, nobody may fork."""
    pytest.importorskip("jax", reason="JAX is not installed")
    code = f"""
import jax.numpy as jnp
from s3dlio.jax_tf import JaxIterable
print(*(int(jnp.asarray(array).sum(dtype=jnp.int32)) for array in JaxIterable({folder!r}, enable_sharding=True)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(number * (number % 3) * 40_000) for number in range(COUNT)]


def test_tensorflow_is_asked_for_a_generator(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What make_tf_dataset calls, where TensorFlow, which is large, is not installed."""

    class Made:
        AUTOTUNE = -1

        @classmethod
        def from_generator(cls, generator: Any, *, output_signature: Any) -> Made:
            self = cls()
            self.found = [list(generator()) for _ in range(2)]
            self.signature = output_signature
            return self

        def map(self, function: Any, num_parallel_calls: int) -> list[Any]:
            assert num_parallel_calls == self.AUTOTUNE
            return [function(array) for array in self.found[1]]

    fake: Any = ModuleType("tensorflow")
    fake.TensorSpec, fake.uint8 = lambda shape, dtype: (shape, dtype), "uint8"
    fake.data = ModuleType("data")
    fake.data.Dataset, fake.data.AUTOTUNE = Made, -1
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    made = make_tf_dataset(folder)
    assert (made.signature, len(made.found[0])) == (((None,), "uint8"), COUNT)
    assert make_tf_dataset(folder, map_fn=len, prefetch=2) == [40_000 * (n % 3) for n in range(COUNT)]
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependencyError, match="tensorflow"):
        make_tf_dataset(folder)
