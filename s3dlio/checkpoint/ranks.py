"""The ranks of a job: who this process is, and what all of them tell each other."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from s3dlio.errors import ConfigError, S3dlioError

T = TypeVar("T")


class Ranks:
    """All processes of a job, seen by one of them.

    Args:
        rank: which this one is, from 0.
        world_size: how many there are.
        exchange: called by all of them with a value; gives the values of all, by rank. Values of checkpoints are those
            that JSON can have, those of loaders pickle.
    """

    def __init__(self, rank: int, world_size: int, exchange: Callable[[Any], list[Any]]) -> None:
        if type(rank) is not int or type(world_size) is not int or not 0 <= rank < world_size:
            raise ConfigError(f"rank must be from 0 to world_size - 1, got {rank!r} of {world_size!r}")
        self.rank = rank
        self.world_size = world_size
        self._exchange = exchange

    def all_do(self, work: Callable[[], T]) -> list[T]:
        """Every rank does its work; the results of all, by rank. Where one fails, all raise, so that none waits.

        Raises:
            S3dlioError: another rank failed.
        """
        result: T | None = None
        failed: BaseException | None = None
        try:
            result = work()
        except Exception as error:
            failed = error
        found = self._exchange({"result": result, "error": None if failed is None else str(failed)})
        if failed is not None:
            raise failed
        for rank, each in enumerate(found):
            if each["error"] is not None:
                raise S3dlioError(f"rank {rank} of {self.world_size} failed: {each['error']}")
        return [each["result"] for each in found]


def alone() -> Ranks:
    """A job of one process."""
    return Ranks(0, 1, lambda value: [value])


def torch_ranks(group: Any = None) -> Ranks:
    """The ranks of ``torch.distributed``, or of a group of them; a job of one where it is not initialized."""
    dist = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return alone()

    def exchange(value: Any) -> list[Any]:
        values: list[Any] = [None] * dist.get_world_size(group)
        dist.all_gather_object(values, value, group)
        return values

    return Ranks(dist.get_rank(group), dist.get_world_size(group), exchange)


def mpi_ranks() -> Ranks:
    """The ranks of MPI, by an mpi4py that the program has imported; a job of one where it has not."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or not mpi.Is_initialized() or mpi.Is_finalized():
        return alone()
    world = mpi.COMM_WORLD
    return Ranks(world.Get_rank(), world.Get_size(), world.allgather)


def job_ranks() -> Ranks:
    """The ranks of ``torch.distributed`` where it is initialized, or else of MPI; a job of one where neither is."""
    ranks = torch_ranks()
    return ranks if ranks.world_size > 1 else mpi_ranks()


def jax_ranks() -> Ranks:
    """The processes of a JAX program."""
    import jax

    if jax.process_count() == 1:
        return alone()

    def exchange(value: Any) -> list[Any]:
        import numpy as np
        from jax.experimental.multihost_utils import process_allgather

        data = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = np.asarray(process_allgather(np.asarray([data.size], np.int32))).reshape(-1)
        padded = np.zeros(int(lengths.max()), np.uint8)
        padded[: data.size] = data
        texts = np.asarray(process_allgather(padded)).reshape(len(lengths), -1)
        return [json.loads(text[:length].tobytes()) for text, length in zip(texts, lengths, strict=True)]

    return Ranks(jax.process_index(), jax.process_count(), exchange)
