"""What a launcher (mpirun, srun, torchrun) tells a process of its job, in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable

#: Rank, and number of ranks, as Open MPI, MPICH and Intel MPI, Slurm with PMIx, and MVAPICH tell them.
_MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"), ("PMIX_RANK", "SLURM_NTASKS"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
)  # fmt: skip
#: The same of any launcher; those of torchrun come first, of Slurm last.
_ALL = (("RANK", "WORLD_SIZE"), *_MPI, ("SLURM_PROCID", "SLURM_NTASKS"))
#: Where launchers tell a process its rank, whether or not they tell how many there are.
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")


def launched_rank() -> tuple[int, int]:
    """This process's rank and how many there are, as its launcher tells; one of one where none does."""
    return _first(_ALL)


def mpi_rank() -> tuple[int, int]:
    """The same, only where the launcher is one of MPI, so that the processes can find each other."""
    return _first(_MPI)


def _first(names: Iterable[tuple[str, str]]) -> tuple[int, int]:
    for rank, world_size in names:
        found, of = os.environ.get(rank, ""), os.environ.get(world_size, "")
        if found.isdecimal() and of.isdecimal() and int(found) < int(of):
            return int(found), int(of)
    return 0, 1
