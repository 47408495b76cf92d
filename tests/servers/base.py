"""What all test servers share: processes in groups of their own, free ports, waiting until ready, logs on failure."""

from __future__ import annotations

import abc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar, Self

import urllib3

from tests.servers import reaper
from tests.servers.certs import Authority

LOOPBACK = "127.0.0.1"
MEMORY = Path("/dev/shm")
_ROOM = 2 << 30


def is_roomy(folder: Path) -> bool:
    """Whether *folder* has room for a server's data: containers often have but 64 MiB of shared memory."""
    return folder.is_dir() and shutil.disk_usage(folder).free >= _ROOM


class ServerError(RuntimeError):
    """A server did not start, or died."""


class ServerUnavailable(ServerError):
    """A server cannot be had on this machine; the message says what to install."""


class Startable(abc.ABC):
    """What runs between ``start()`` and ``stop()``, or while a ``with`` block does."""

    @abc.abstractmethod
    def start(self) -> Self: ...

    @abc.abstractmethod
    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class Server(Startable):
    """A server in processes of its own: ``with MotoServer() as server: ...``, or ``start()`` and ``stop()``.

    Subclasses implement ``_launch`` (spawn processes, set ``endpoint``) and ``_ready`` (does it answer yet?).
    """

    name: ClassVar[str]
    #: What users of it should know, as the end of a sentence; empty: nothing.
    lacks: ClassVar[str] = ""
    start_timeout: ClassVar[float] = 60.0
    stop_timeout: ClassVar[float] = 3.0
    """Seconds that processes are given to end by themselves."""

    def __init__(self, *, tls: Authority | None = None) -> None:
        """With *tls*, the server talks https with a certificate of that private authority."""
        self.tls = tls
        self.endpoint = ""
        self.processes: list[subprocess.Popen[bytes]] = []
        self._folder: Path | None = None
        self._holders: list[socket.socket] = []

    @staticmethod
    def install() -> object:
        """Install what the server needs if it is missing. Raises ServerUnavailable, saying what to install."""
        return None

    @property
    def env(self) -> dict[str, str]:
        """The environment variables with which a client reaches this server."""
        return {}

    @property
    def proc(self) -> subprocess.Popen[bytes]:
        """The process that answers clients."""
        return self.processes[-1]

    @property
    def folder(self) -> Path:
        """The server's own folder for configuration, data and logs; removed when it stops."""
        if self._folder is None:
            self._folder = self._make_folder()
            reaper.watch(self._folder)
        return self._folder

    def _make_folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"s3dlio-{self.name}-", dir=MEMORY if is_roomy(MEMORY) else None))

    def start(self) -> Self:
        """Start and wait until the server answers. Raises ServerError with the end of its logs if it does not."""
        try:
            self._launch()
            deadline = time.monotonic() + self.start_timeout
            while not self._ready():
                self._check_alive()
                if time.monotonic() > deadline:
                    raise ServerError(f"{self.name} not ready after {self.start_timeout:.0f} s\n{self.logs()}")
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all processes and remove the folder; harmless when there is nothing to stop."""
        for process in reversed(self.processes):
            reaper.kill_group(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(self.stop_timeout)
            except subprocess.TimeoutExpired:
                pass
            finally:
                reaper.kill_group(process.pid)  # and whatever is left of its group
                process.wait()
                reaper.forget(process.pid)
        self.processes.clear()
        while self._holders:
            self._holders.pop().close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            reaper.forget(self._folder)
            self._folder = None


    def logs(self, limit: int = 4000) -> str:
        """Return the last *limit* characters of every process's log."""
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            text = path.read_text(errors="replace")[-limit:].strip()
            parts.append(f"--- {path.name}\n{text}")
        return "\n".join(parts)

    def _reserve_port(self) -> int:
        """Return a port that is this server's until it stops."""
        self._holders.append(hold_port())
        return port_of(self._holders[-1])

    def _set_port(self, port: int) -> None:
        self.endpoint = f"{'https' if self.tls else 'http'}://{LOOPBACK}:{port}"

    def _ask(self, path: str = "/") -> urllib3.BaseHTTPResponse:
        """Return the answer to a plain GET, its body read."""
        # Not urllib3.request() or urllib's urlopen(): these share a pool, or go through the user's proxy.
        with urllib3.PoolManager(ca_certs=str(self.tls.bundle) if self.tls else None, retries=False) as pool:
            return pool.request("GET", self.endpoint + path, timeout=30)

    def _aws_env(self, access_key: str = "testing", secret_key: str = "testing") -> dict[str, str]:
        env = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_REGION": "us-east-1",
        }
        return env | ({"AWS_CA_BUNDLE": str(self.tls.bundle)} if self.tls else {})

    @abc.abstractmethod
    def _launch(self) -> None:
        """Spawn the processes and set ``endpoint``."""

    def _ready(self) -> bool:
        """Tell whether the server answers yet; by default, whether it accepts connections at ``endpoint``."""
        host, _, port = self.endpoint.rpartition("/")[2].rpartition(":")
        return accepts(host, int(port))

    def _spawn(
        self,
        argv: Sequence[str | Path],
        *,
        log: str,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start *argv* in a process group of its own, its output going to the file *log*.log in the folder."""
        with open(self.folder / f"{log}.log", "ab") as output:
            process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                pass_fds=pass_fds,
                start_new_session=True,
            )
        reaper.watch(process.pid)
        self.processes.append(process)
        return process

    def _check_alive(self) -> None:
        for process in self.processes:
            if process.poll() is not None:
                raise ServerError(f"{self.name} ended with {process.returncode} at its start\n{self.logs()}")


class PythonServer(Server):
    """A server of our own: a module of this package that is run as a program and announces its port."""

    module: ClassVar[str]

    def _launch_module(self, *options: str | Path) -> None:
        """Run the module with the path of its port file as first argument, and *options*."""
        foreign = ("AWS_", "AZURE_", "GOOGLE_", "S3DLIO_")  # it must not act on settings meant for clients
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        env["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
        self._spawn([sys.executable, "-m", self.module, self._port_file, *options], log=self.name, env=env)

    def _ready(self) -> bool:
        if not self._port_file.exists():
            return False
        self._set_port(int(self._port_file.read_text()))
        return True

    @property
    def _port_file(self) -> Path:
        return self.folder / "port"


def announce(port_file: Path, port: int) -> None:
    """In the program that a PythonServer runs: the server listens at *port*."""
    scratch = port_file.with_suffix(".tmp")
    scratch.write_text(str(port))
    scratch.rename(port_file)  # there at once and whole


def accepts(host: str, port: int) -> bool:
    """Tell whether somebody accepts connections at *host*:*port*."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def hold_port() -> socket.socket:
    """Return a socket that holds a free loopback port: nobody is given it, and nobody listens at it, while it is open.

    A server that sets SO_REUSEADDR (they all do) may still listen there, as the holder itself does not. A port that is
    merely remembered can be taken by any connection as its own end before the server gets to it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((LOOPBACK, 0))
    return holder


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that come, until the listener is shut down."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        yield connection


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that keeps connections open and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


def port_of(bound: socket.socket) -> int:
    """Return the port that the socket is bound to."""
    port: int = bound.getsockname()[1]
    return port
