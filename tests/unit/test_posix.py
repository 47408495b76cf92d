"""Systems that are not Linux: what works without its facilities, and what is said where something cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import s3dlio
from s3dlio import posix
from tests.servers.scripted import Expect, ScriptedServer, respond

#: Takes away what macOS and the BSDs do not have, before the package is imported.
WITHOUT_LINUX = """
import os, select, socket, sys, resource, time
for module, names in (
    (select, ["epoll"]), (resource, ["RUSAGE_THREAD"]), (time, ["pthread_getcpuclockid"]),
    (os, ["eventfd", "memfd_create", "sched_getaffinity", "posix_fadvise", "copy_file_range", "O_DIRECT", "preadv",
          "pwritev", "posix_fallocate", "sendfile", "splice", "getrandom"]),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "darwin"
"""
WITHOUT_POSIX = "import sys\nsys.modules['fcntl'] = sys.modules['resource'] = None\n"


def _run(program: str) -> subprocess.CompletedProcess[str]:
    here = Path(s3dlio.__file__).parent.parent
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=here)


def test_files_and_s3_work_without_what_only_linux_has(tmp_path: Path) -> None:
    program = WITHOUT_LINUX + """
import s3dlio
from s3dlio import posix
folder, endpoint = "file://%s/", %r
s3dlio.put_many([(f"{folder}{n}", bytes([n]) * 70_000) for n in range(40)])
assert len(s3dlio.get_many(s3dlio.list(folder))) == 40
assert s3dlio.copy(folder, folder[:-1] + "-copy/", recursive=True).succeeded == 40
assert s3dlio.check(folder, folder[:-1] + "-copy/", download=True).identical
os.environ.update(AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s", AWS_REGION="us-east-1")
client = s3dlio.Client(endpoint_url=endpoint)
assert client.get("s3://bucket/key") == b"small"
print(sorted(posix.replaced()))
"""
    with ScriptedServer([[Expect(), respond(body=b"small")]]) as server:
        done = _run(program % (tmp_path / "data", server.endpoint))
    assert done.returncode == 0, done.stderr
    assert "epoll" in done.stdout


def test_nothing_is_replaced_on_linux() -> None:
    assert posix.replaced() == {}


def test_a_system_without_posix_is_named_with_what_helps() -> None:
    done = _run(WITHOUT_POSIX + """
import s3dlio
try:
    s3dlio.get("file:///x")
except s3dlio.S3dlioError as error:
    print(type(error).__name__, error)
""")
    assert done.stdout.startswith("UnsupportedOperationError s3dlio reads and writes on POSIX systems; Python has no")
    assert "WSL 2" in done.stdout


def test_the_command_helps_and_says_so_without_posix() -> None:
    start = WITHOUT_POSIX + "from s3dlio.cli.main import main\n"
    assert "usage: s3-cli" in _run(start + "main(['--help'])").stdout
    done = _run(start + "sys.exit(main(['ls', 'file:///']))")
    assert done.returncode == 1
    assert "POSIX" in done.stderr
    assert "Traceback" not in done.stderr
