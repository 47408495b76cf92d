"""Getting a server onto this machine: once, into the user's cache folder, safe against parallel runs, never as root.

The folder is ``$XDG_CACHE_HOME/s3dlio-tests`` (``~/.cache/s3dlio-tests``). A folder's name carries what is in it, so a
new version is a new folder, and a complete one is never touched again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.servers.base import ServerUnavailable

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3dlio-tests"
TIMEOUT = 600


def python_venv(name: str, *requirements: str) -> Path:
    """Return the bin folder of a virtual environment with *requirements*, made at the first call."""
    label = f"{name}-py{sys.version_info.major}.{sys.version_info.minor}"

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", folder], "apt-get install python3-venv")
        _run(
            [folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-input", *requirements],
            f"pip must be able to install {' '.join(requirements)}",
        )

    interpreter = f"{sys.base_prefix} {sys.version}"  # a virtual environment outlives neither
    return _install_once(label, [*requirements, interpreter], install, in_place=True) / "bin"


def npm_package(package: str) -> Path:
    """Return the folder with the executables of npm *package* (``name@version``), installed at the first call."""
    npm = shutil.which("npm")
    if npm is None:
        raise ServerUnavailable(f"{package} needs Node.js: apt-get install npm")

    def install(folder: Path) -> None:
        _run(
            [npm, "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", package],
            f"npm must be able to install {package}",
        )

    return _install_once(package.partition("@")[0], [package], install) / "node_modules/.bin"


def debian_program(program: str, package: str) -> Path:
    """Return the path of *program*: the system's own, or one unpacked from Debian's *package* (without root)."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is not None:
        return Path(found)
    hint = f"apt-get install {package}"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ServerUnavailable(f"{program} is missing: install {package}")

    def install(folder: Path) -> None:
        download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
        if os.geteuid() == 0 and subprocess.run(download, cwd=folder, capture_output=True, check=False).returncode:
            _run(["apt-get", "update", "-qq"], hint)  # a fresh machine has no package lists yet
        _run(download, hint, cwd=folder)
        _run(["dpkg-deb", "-x", next(folder.glob("*.deb")), folder], hint)

    folder = _install_once(package, [package], install)
    return next(path for path in (folder / "usr/sbin" / program, folder / "usr/bin" / program) if path.exists())


def debian_packages(programs: Sequence[str], packages: Sequence[str]) -> None:
    """Make sure that *programs* are there, as root by installing Debian's *packages*."""
    if all(shutil.which(program) for program in programs):
        return
    hint = f"as root: apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        raise ServerUnavailable(hint)
    with _locked("apt"):
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "-qq"], hint, env=environ)
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], hint, env=environ)


def _install_once(
    label: str, contents: Sequence[str], install: Callable[[Path], None], *, in_place: bool = False
) -> Path:
    """Return the cache folder for *contents*, filled by *install* if it is not complete yet.

    With *in_place* it is filled where it will stay (a virtual environment knows its own path), otherwise beside it.
    """
    folder = CACHE / f"{label}-{hashlib.sha256(' '.join(contents).encode()).hexdigest()[:8]}"
    complete = folder / ".complete"
    if complete.exists():
        return folder
    with _locked(folder.name):
        if complete.exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        if in_place:
            install(folder)
        else:
            scratch = Path(tempfile.mkdtemp(prefix=f"{label}-", dir=CACHE))
            try:
                install(scratch)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        complete.touch()
    return folder


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, even by a crash
        yield


def _run(argv: Sequence[str | Path], hint: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    command = [str(part) for part in argv]
    shown = f"{' '.join(command[:3])} ..."
    try:
        result = subprocess.run(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise ServerUnavailable(f"{hint}\n({shown} did not end in {TIMEOUT} s)") from None
    if result.returncode:
        said = (result.stderr or result.stdout).strip()[-500:]
        raise ServerUnavailable(f"{hint}\n({shown} ended with {result.returncode}: {said})")
