"""The transport of MPI, by mpi4py."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from s3dlio.errors import ConfigError

_TAG = 1
_HINT = "pip install 's3dlio[mpi]' where the processes run; S3DLIO_MPI=0 has each process work by itself"


class MpiTransport:
    """All ranks of ``MPI.COMM_WORLD``, by a communicator of its own.

    MPI is initialized if the program has not done that; whoever did it finalizes it.

    Raises:
        ConfigError: mpi4py is not installed, or finds no MPI.
    """

    def __init__(self) -> None:
        self._is_ours = "mpi4py.MPI" not in sys.modules
        mpi = self._mpi = _load()
        if mpi.Query_thread() < mpi.THREAD_SERIALIZED:
            raise ConfigError("MPI was initialized for one thread only", hint="initialize it for several")
        self._world = mpi.COMM_WORLD.Dup()
        self.rank: int = self._world.Get_rank()
        self.size: int = self._world.Get_size()
        self.host: str = mpi.Get_processor_name()
        self._leaving: list[tuple[Any, bytes]] = []

    def send(self, rank: int, message: bytes) -> None:
        """Begin to send."""
        request = self._world.Isend([message, self._mpi.BYTE], dest=rank, tag=_TAG)
        self._leaving.append((request, message))  # the bytes must stay until they have left
        if len(self._leaving) > 64:
            self.is_sent()

    def is_sent(self) -> bool:
        """Whether all has left."""
        self._leaving = [(request, message) for request, message in self._leaving if not request.Test()]
        return not self._leaving

    def receive(self) -> tuple[int, bytes] | None:
        """A message that is there."""
        status = self._mpi.Status()
        found = self._world.Improbe(source=self._mpi.ANY_SOURCE, tag=_TAG, status=status)
        if found is None:
            return None
        data = bytearray(status.Get_count(self._mpi.BYTE))
        found.Recv([data, self._mpi.BYTE])
        return status.Get_source(), bytes(data)

    def leave(self) -> None:
        """Finalize MPI, if it is ours."""
        self._world.Free()
        if self._is_ours:
            self._mpi.Finalize()

    def abort(self, code: int) -> None:
        """End the job."""
        with contextlib.suppress(Exception):  # the launcher may end this process first
            self._mpi.COMM_WORLD.Abort(code)


def _load() -> Any:
    try:
        import mpi4py

        if "mpi4py.MPI" not in sys.modules:
            # Who ends early must not wait for the others in MPI_Finalize: the launcher ends them.
            mpi4py.rc.finalize = False
            mpi4py.rc.thread_level = "serialized"
        from mpi4py import MPI
    except ImportError as error:
        raise ConfigError(f"a launcher of MPI has started this process, and mpi4py is not to be had: {error}",
                          hint=_HINT) from error  # fmt: skip
    except RuntimeError as error:
        raise ConfigError(f"mpi4py finds no MPI: {error}", hint=_HINT) from error
    return MPI
