"""Workers of torch's DataLoader that are new processes, that are killed, and that are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for number in range(20):
        (tmp_path / f"{number:03}").write_bytes(bytes([number]) * 5000)
    return f"file://{tmp_path}/"


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.torch_programs", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.timeout(200)  # three processes import torch
def test_workers_that_are_new_processes(folder: str) -> None:
    out, err = run("spawned", folder).communicate(timeout=180)
    assert out == 2 * (" ".join(map(str, range(20))) + "\n"), err


@pytest.mark.timeout(200)
def test_a_killed_worker_and_an_interrupt_end_an_epoch(folder: str) -> None:
    program = run("interrupted", folder)
    assert program.stdout is not None
    try:
        assert program.stdout.readline().startswith("error: ")
        assert program.stdout.readline() == "in the middle\n"
        os.killpg(program.pid, signal.SIGINT)
        _, err = program.communicate(timeout=45)
    finally:
        program.kill()
        program.wait()
    assert program.returncode in (130, -signal.SIGINT), err
    assert "KeyboardInterrupt" in err
    with pytest.raises(ProcessLookupError):  # no worker is left
        os.killpg(program.pid, 0)
