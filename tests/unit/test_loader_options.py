"""The options of loaders: every builder, every form, and what is said about a name that is none."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import ConfigError
from s3dlio.loader.options import LoaderOptions, PyLoaderOptions


def test_defaults_are_those_of_the_documents() -> None:
    options = PyLoaderOptions()
    assert options.to_dict() == {
        "batch_size": 32, "drop_last": False, "shuffle": False, "seed": 0, "num_workers": 0, "prefetch": 0,
        "auto_tune": False, "pin_memory": False, "persistent_workers": False, "timeout_seconds": None,
        "non_blocking": False, "shard_rank": 0, "shard_world_size": 1, "generator_seed": None,
        "enable_transforms": False, "collate_buffer_size": 1024, "multiprocessing_context": "spawn",
        "memory_format": "auto", "sampler_type": "sequential", "sampler_replacement": None, "sampler_rank": None,
        "sampler_world_size": None,
    }  # fmt: skip
    assert LoaderOptions.from_any(None).values.items_per_batch == 1


def test_builders_give_new_options() -> None:
    first = LoaderOptions()
    second = first.with_batch_size(4).shuffle(True, 7).drop_last().num_workers(3).prefetch(9).with_timeout(2)
    assert first == LoaderOptions()
    assert (second.batch_size, second.seed, second.timeout_seconds) == (4, 7, 2.0)
    assert (second.shuffle_value, second.drop_last_value) == (True, True)
    assert (second.num_workers_value, second.prefetch_value) == (3, 9)
    assert second.shuffle(False).seed == 7
    with pytest.raises(AttributeError, match="do not change"):
        first.timeout = 3  # type: ignore[attr-defined]


def test_presets() -> None:
    gpu = LoaderOptions().gpu_optimized()
    assert gpu.pin_memory_value
    assert gpu.persistent_workers_value
    assert gpu.non_blocking_value
    assert gpu.values.memory_format == "channels_first"
    rank = LoaderOptions().distributed_optimized(2, 4)
    assert (rank.shard_rank, rank.shard_world_size) == (2, 4)
    shown = rank.to_dict()
    assert (shown["sampler_type"], shown["sampler_rank"], shown["sampler_world_size"]) == ("distributed_random", 2, 4)
    assert LoaderOptions().debug_mode().timeout_seconds == 10
    drawn = LoaderOptions().random_sampling(True)
    assert (drawn.values.replacement, drawn.to_dict()["sampler_replacement"]) == (True, True)


@pytest.mark.parametrize("make", [
    lambda o: o.to_dict(), lambda o: o, lambda o: o.values, lambda o: pickle.loads(pickle.dumps(o)),
])  # fmt: skip
def test_every_form_is_the_same(make: Any) -> None:
    options = LoaderOptions(transform=len).shuffle(True, 3).shard(1, 2).reader_mode("range")
    options = options.with_prefetch_bytes("1 MiB")
    read = LoaderOptions.from_any(make(options)).values
    assert (read.seed, read.shard_rank, read.reader_mode, read.prefetch_bytes) == (3, 1, "range", 1 << 20)
    assert read.applied is len


@pytest.mark.parametrize(("given", "said"), [
    ({"batchsize": 3}, "did you mean batch_size"), ({"shufle": True}, "did you mean shuffle"),
    ({"prefetch_size": 2}, "did you mean prefetch"), ({"xyz": 1}, "options are auto_tune, batch_size"),
    ({"batch_size": 0}, "batch_size must be at least 1"), ({"batch_size": "many"}, "batch_size must be an integer"),
    ({"batch_size": True}, "batch_size must be an integer"), ({"shuffle": 3}, "shuffle must be true or false"),
    ({"prefetch": -1}, "prefetch must be at least 0"), ({"timeout": -1}, "timeout must be a number of seconds"),
    ({"reader_mode": "backwards"}, "reader_mode must be one of sequential, range"),
    ({"shard_rank": 2, "shard_world_size": 2}, "there are 2 ranks"), ({"transform": 3}, "transform must be callable"),
    ({"worker_id": 1}, "there are 1 workers"), ({"cancel": 3}, "cancel must be a CancelToken"),
])  # fmt: skip
def test_what_is_wrong_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        LoaderOptions.from_any(given)
    assert isinstance(caught.value, ValueError)


def test_no_options_at_all() -> None:
    with pytest.raises(TypeError, match="a dict or LoaderOptions, not list"):
        LoaderOptions.from_any([1])  # type: ignore[arg-type]


def test_integers_of_other_libraries() -> None:
    import numpy

    assert LoaderOptions.from_any({"batch_size": numpy.int64(5)}).batch_size == 5


def test_pools() -> None:
    options = LoaderOptions().async_pool_loading(s3dlio.PoolConfig.aggressive())
    assert options.values.in_order is False
    assert options.sequential_loading().values.in_order is True
    assert LoaderOptions(loading_mode=s3dlio.LoadingMode.AsyncPool).values.in_order is False
    assert s3dlio.PoolConfig.from_loader_options(LoaderOptions(num_workers=4, prefetch=3)).pool_size == 64
