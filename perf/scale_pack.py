"""All that ``perf.scale`` needs on a machine without a network, as files: ``python -m perf.scale --pack DIR``.

``DIR/run`` measures there. The machine has the same processor family and version of Python, and nothing else.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from perf.contenders import CONTENDERS, ROOT
from perf.measure import say
from perf.scale import ROWS
from tests.servers.nginx import NginxServer

#: What our own package needs for plain HTTP, TLS and processes.
OWN = ("google-crc32c", "urllib3", "numpy")

_RUN = """\
#!/bin/sh
# Rates over the CPUs of this machine: prints the tables, and writes them into scale.md beside this file.
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$here/bin:$PATH" S3DLIO_PERF_PACKED="$here" PYTHONPATH="$here/project:$here/site/own" PYTHONSAFEPATH=1
export XDG_CACHE_HOME="${{TMPDIR:-/tmp}}/s3dlio-scale" PYTHONDONTWRITEBYTECODE=1
for python in python{version} python3 python; do
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != ({major}, {minor}))' 2>/dev/null &&
        exec "$python" -m perf.scale --output "$here/scale.md" "$@"
done
echo "Python {version} is missing" >&2
exit 1
"""
_NGINX = """\
#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd)
exec "$here/lib/{loader}" --library-path "$here/lib" "$here/lib/nginx" "$@"
"""


def pack(folder: Path) -> None:
    """Write everything into a folder, which is made, or whose contents are replaced.

    Raises:
        subprocess.CalledProcessError: a package cannot be installed, or nginx's libraries cannot be found.
    """
    for name in ("bin", "lib", "site", "project"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    say("packing nginx")
    _pack_nginx(folder)
    packages = {CONTENDERS[name].package for row in ROWS for name in row.contenders} - {None}
    for package in sorted(filter(None, packages)):
        say(f"packing {package}")
        _install(folder / "site" / package, package)
    say("packing the project")
    _install(folder / "site" / "own", *OWN, "cryptography")
    for name in ("s3dlio", "perf", "tests"):
        shutil.copytree(ROOT / name, folder / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    _program(
        folder / "run", _RUN.format(version=version, major=sys.version_info.major, minor=sys.version_info.minor)
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    say("")
    print(f"{folder}: {size >> 20} MiB; on the other machine, {folder.name}/run")


def _pack_nginx(folder: Path) -> None:
    program = NginxServer.install()
    shutil.copy(program, folder / "lib" / "nginx")
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = [Path(path) for path in re.findall(r"(/\S+) \(0x", listed)]
    for library in libraries:
        shutil.copy(library, folder / "lib" / library.name)
    loader = next(library.name for library in libraries if library.name.startswith("ld-"))
    _program(folder / "bin" / "nginx", _NGINX.format(loader=loader))


def _install(target: Path, *packages: str) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--target", target, *packages], check=True)


def _program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
