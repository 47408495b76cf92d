"""Unit and property tests on the other Pythons of this machine: ``python -m tests.versions [VERSION ...]``.

A version that is not on the machine is told and left out. Each has a virtual environment of its own, ``.venv-VERSION``,
made again when what the package requires has changed.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.12", "3.13", "3.14")
TESTS = ("tests/unit", "tests/properties", "tests/wire/test_tls_bodies.py", "tests/wire/test_tls_ends.py")
#: What decides about the installed packages.
_REQUIREMENTS = ("setup.cfg", "setup.py", "pyproject.toml", "tests/versions.py")


def interpreter(version: str) -> str | None:
    """A working Python of this version: on the PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}"), *sorted(glob.glob(f"{pyenv}/{version}.*/bin/python{version}"))]
    for candidate in found:
        if candidate and subprocess.run([candidate, "-c", "import venv"], capture_output=True).returncode == 0:
            return candidate
    return None


def environment(version: str, python: str) -> Path:
    """The Python of the virtual environment for ``version``, made or renewed where needed."""
    folder = ROOT / f".venv-{version}"
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in _REQUIREMENTS)).hexdigest()
    stamp, inner = folder / ".made", folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(inner), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "-e", ".[test,demo]"], cwd=ROOT, check=True)
        stamp.write_text(wanted)
    return inner


def main(versions: list[str]) -> int:
    """Run the tests on every version that is there, side by side; returns how many failed."""
    runs: dict[str, subprocess.Popen[str]] = {}
    for version in versions or VERSIONS:
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: not on this machine", flush=True)
            continue
        command = [str(environment(version, python)), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        runs[version] = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    failed = 0
    for version, run in runs.items():
        output, _ = run.communicate()
        failed += run.returncode != 0
        print(output if run.returncode else output.strip().rpartition("\n")[2], f"(Python {version})", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
