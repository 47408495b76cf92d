"""Time, chance and sockets have one door (``s3dlio.net.system``), so that a simulation can stand in for them."""

from __future__ import annotations

import ast
import contextlib
import random
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.net import system

PACKAGE = Path(s3dlio.__file__).parent
#: What goes through the door instead; the names of constants and types do not matter.
INSTEAD = {
    "time": {"monotonic", "monotonic_ns", "perf_counter", "time", "sleep"},
    "random": set(dir(random)),
    "select": {"select", "poll", "epoll"},
    "selectors": {"DefaultSelector", "EpollSelector", "PollSelector", "SelectSelector"},
    "socket": {"socketpair", "create_connection", "getaddrinfo", "gethostbyname", "fromfd"},
    "urllib3.util.wait": {"wait_for_read", "wait_for_write", "wait_for_socket"},
}
#: Beside ``net`` and ``engine``: where an operation's own time decides something.
OPERATIONS = ("stores/base.py", "stores/cloud/store.py", "stores/cloud/reading.py", "stores/s3/multipart.py",
              "stores/s3/orphaned_uploads.py")  # fmt: skip


def modules() -> list[Path]:
    rooms = [path for room in ("net", "engine") for path in sorted((PACKAGE / room).rglob("*.py"))]
    return [path for path in rooms if path.name != "system.py"] + [PACKAGE / name for name in OPERATIONS]


def direct_uses(path: Path) -> Iterator[str]:
    """``time.monotonic()``, ``socket.socket()``, ``from time import sleep``, ..."""
    names = {name: name for name in INSTEAD}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module in INSTEAD:
            for alias in node.names:
                if alias.name in INSTEAD[node.module] or (node.module, alias.name) == ("socket", "socket"):
                    yield f"{path.name}:{node.lineno}: from {node.module} import {alias.name}"
        elif isinstance(node, ast.Attribute) and node.attr in INSTEAD.get(names.get(ast.unparse(node.value), ""), ()):
            yield f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and names.get(ast.unparse(node.func).removesuffix(".socket")) == "socket":
            yield f"{path.name}:{node.lineno}: {ast.unparse(node.func)}()"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_time_chance_and_sockets_come_through_the_door(path: Path) -> None:
    assert not list(direct_uses(path)), "use s3dlio.net.system"


def test_uses_past_the_door_are_found(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text(
        "import time, random, socket as s, selectors\nfrom time import sleep\nfrom socket import socket\n"
        "time.monotonic()\ns.socket(1)\nnow = time.time\nrandom.random()\nselectors.DefaultSelector()\n"
        "def allowed(sock: s.socket) -> None:\n    s.AF_INET, selectors.EVENT_READ, time.thread_time()\n"
    )
    assert {use.partition(": ")[2] for use in direct_uses(path)} == {
        "from time import sleep", "from socket import socket", "time.monotonic", "s.socket()", "time.time",
        "random.random", "selectors.DefaultSelector",
    }  # fmt: skip


def test_the_door_holds_the_functions_themselves() -> None:
    """A wrapper would cost every request a frame for each look at the clock."""
    assert system.monotonic is time.monotonic
    assert system.perf_counter is time.perf_counter
    assert system.time is time.time
    assert system.sleep is time.sleep
    assert system.socket is socket.socket
    assert system.poller is getattr(select, "epoll", system.Poller)
    assert system.poll is getattr(select, "poll", None)


@pytest.mark.parametrize("poller", [system.poller, system.Poller])
def test_pollers_name_events_alike(poller: Any) -> None:
    ours, theirs = socket.socketpair()
    polled = poller()
    with ours, theirs, contextlib.closing(polled):
        polled.register(ours.fileno(), system.READ | system.WRITE)
        assert polled.poll(5.0, 16) == [(ours.fileno(), system.WRITE)]
        theirs.send(b"x")
        polled.modify(ours.fileno(), system.READ)
        assert polled.poll(5.0, 16) == [(ours.fileno(), system.READ)]
        polled.unregister(ours.fileno())
        assert polled.poll(0.0, 16) == []
