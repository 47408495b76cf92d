"""What the wheel installs (every module, the typing marker, both commands, the man pages), and that the source archive
holds all that its own checks need."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


#: Bytes of the wheel, at most: images of containers and cold starts pay for each.
LARGEST = 1_500_000
FOLDERS = ("s3dlio", "man", "docs", "examples", "perf", "tests")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: building leaves traces beside them."""
    source = tmp_path_factory.mktemp("source")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return source


@pytest.fixture(scope="module")
def wheel(source: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (source / "out").glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_module_and_the_typing_marker_are_in_it(wheel: zipfile.ZipFile) -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "s3dlio").rglob("*.*") if "__pycache__" not in str(path)}
    assert files == {name for name in wheel.namelist() if name.startswith("s3dlio/")}
    assert {"s3dlio/__init__.pyi", "s3dlio/py.typed", "s3dlio/__main__.py"} <= files


def test_it_is_small(wheel: zipfile.ZipFile) -> None:
    assert Path(str(wheel.filename)).stat().st_size <= LARGEST


def test_both_commands_are_in_it(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(name).decode())
    assert dict(scripts["console_scripts"]) == dict.fromkeys(("s3-cli", "s3dlio"), "s3dlio.__main__:main")


def test_the_man_pages_are_in_it_and_are_the_committed_ones(wheel: zipfile.ZipFile) -> None:
    built = {Path(name).name: wheel.read(name) for name in wheel.namelist() if "/share/man/man1/" in name}
    assert built == {path.name: path.read_bytes() for path in (ROOT / "man").glob("*.1")}
    assert "s3-cli.1" in built


def test_the_source_archive_passes_its_own_checks(source: Path, tmp_path: Path) -> None:
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    (top,) = (path for path in tmp_path.iterdir() if path.is_dir())
    for name in FOLDERS:
        files = {str(path.relative_to(source)) for path in (source / name).rglob("*") if path.is_file()}
        assert not {file for file in files if "__pycache__" not in file and not (top / file).exists()}
    for check in (["docs/check.py"], ["docs/cli_reference.py", "--check"], ["man/pages.py", "--check"]):
        ran = subprocess.run([sys.executable, *check], cwd=top, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
