"""What the wheel installs: every module, the typing marker, both commands, and the man pages."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy: building leaves traces beside the sources."""
    source = tmp_path_factory.mktemp("source")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    for name in ("s3dlio", "man"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.1"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (source / "out").glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_module_and_the_typing_marker_are_in_it(wheel: zipfile.ZipFile) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "s3dlio").rglob("*.py")}
    typing = {"s3dlio/__init__.pyi", "s3dlio/py.typed"}
    assert modules | typing == {name for name in wheel.namelist() if name.startswith("s3dlio/")}


def test_both_commands_are_in_it(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(name).decode())
    assert dict(scripts["console_scripts"]) == dict.fromkeys(("s3-cli", "s3dlio"), "s3dlio.__main__:main")


def test_the_man_pages_are_in_it_and_are_the_committed_ones(wheel: zipfile.ZipFile) -> None:
    built = {Path(name).name: wheel.read(name) for name in wheel.namelist() if "/share/man/man1/" in name}
    assert built == {path.name: path.read_bytes() for path in (ROOT / "man").glob("*.1")}
    assert "s3-cli.1" in built
