"""No strays: process groups started and folders made here are gone when this process ends, however it ends.

One helper process reads our commands from a pipe. When we exit, crash or are killed, the pipe closes, and the helper
kills and removes what is still on its list. (PR_SET_PDEATHSIG would reach only the direct child, and would strike as
soon as the *thread* that started it ends.)
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

_lock = threading.Lock()
_helper: subprocess.Popen[bytes] | None = None
_owner = 0


def watch(item: int | Path) -> None:
    """Have a process group (int) killed, or a folder (Path) removed, when this process ends."""
    _tell(f"+{item}\n")


def forget(item: int | Path) -> None:
    """The process group has ended, or the folder is gone: leave that number or name alone from now on."""
    _tell(f"-{item}\n")


def kill_group(group: int, signum: int = signal.SIGKILL) -> None:
    """Send *signum* to process group *group*, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signum)


def _tell(command: str) -> None:
    global _helper, _owner
    with _lock:
        if _helper is None or _owner != os.getpid():  # a forked child gets a helper of its own
            _helper = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, start_new_session=True
            )
            _owner = os.getpid()
        assert _helper.stdin is not None
        _helper.stdin.write(command.encode())
        _helper.stdin.flush()


@atexit.register
def _end() -> None:
    if _helper is not None and _owner == os.getpid():
        assert _helper.stdin is not None
        _helper.stdin.close()
        _helper.wait(10)


def _main() -> None:
    items: set[str] = set()
    for line in sys.stdin:
        (items.add if line[0] == "+" else items.discard)(line[1:].rstrip("\n"))
    for group in filter(str.isdigit, items):
        kill_group(int(group))
    for folder in items:
        if folder.startswith("/"):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main()
