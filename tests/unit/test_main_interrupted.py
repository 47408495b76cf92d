"""Ctrl-C while the command is still being imported ends it as at any later time: 130, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import s3dlio

INTERRUPTED = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from s3dlio.__main__ import main
sys.argv = ["s3-cli", "config"]
sys.exit(main())
"""


@pytest.mark.parametrize("name", ["s3dlio.cli.main", "s3dlio.cli.parser", "s3dlio.cli.commands.config"])
def test_an_interrupt_during_an_import(name: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(name=name)],
        env={"PYTHONPATH": str(Path(s3dlio.__file__).parent.parent), "HOME": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 130, ran.stderr
    assert "Traceback" not in ran.stderr
