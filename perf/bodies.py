"""How bytes should pass between a socket and a file: through our buffer, or inside the kernel (sendfile, splice).

Run ``python -m perf.bodies``. Each way moves 512 MiB over a loopback connection, in turn, five times; the other end is
a process of its own. Printed are medians of GB/s and of CPU seconds for a GB of the side that is measured.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable

SIZE = 512 << 20
PIECE = 1 << 20
ROUNDS = 5


def _pump(port: int, send: bool) -> None:
    """The other end: sends or drops SIZE bytes on each connection."""
    buffer = bytearray(PIECE)
    with socket.create_connection(("127.0.0.1", port)) as control:
        while control.recv(1):
            with socket.create_connection(("127.0.0.1", port)) as data:
                moved = 0
                while moved < SIZE:
                    moved += data.send(buffer) if send else data.recv_into(buffer)


def read_send(sock: socket.socket, fd: int) -> None:
    buffer = memoryview(bytearray(PIECE))
    for offset in range(0, SIZE, PIECE):
        count = os.preadv(fd, [buffer], offset)
        sock.sendall(buffer[:count])


def send_file(sock: socket.socket, fd: int) -> None:
    offset = 0
    while offset < SIZE:
        offset += os.sendfile(sock.fileno(), fd, offset, SIZE - offset)


def receive_write(sock: socket.socket, fd: int) -> None:
    buffer = memoryview(bytearray(64 << 10))
    offset = 0
    while offset < SIZE:
        count = sock.recv_into(buffer)
        offset += os.pwritev(fd, [buffer[:count]], offset)


def receive_write_large(sock: socket.socket, fd: int) -> None:
    buffer = memoryview(bytearray(PIECE))
    offset = 0
    while offset < SIZE:
        count = sock.recv_into(buffer, PIECE, socket.MSG_WAITALL)
        offset += os.pwritev(fd, [buffer[:count]], offset)


def splice(sock: socket.socket, fd: int, room: int = 0) -> None:
    source, sink = os.pipe()
    if room:
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, room)
    try:
        offset = 0
        while offset < SIZE:
            held = os.splice(sock.fileno(), sink, PIECE)
            while held:
                count = os.splice(source, fd, held, offset_dst=offset)
                held -= count
                offset += count
    finally:
        os.close(source)
        os.close(sink)


def splice_large(sock: socket.socket, fd: int) -> None:
    splice(sock, fd, PIECE)


def measure(
    move: Callable[[socket.socket, int], None], port: socket.socket, control: socket.socket, fd: int, new: bool
) -> tuple[float, float]:
    control.send(b"x")
    sock, _ = port.accept()
    if new:
        os.ftruncate(fd, 0)
    with sock:
        wall, cpu = time.perf_counter(), time.process_time()
        move(sock, fd)
        return SIZE / 1e9 / (time.perf_counter() - wall), (time.process_time() - cpu) / (SIZE / 1e9)


def compare(
    title: str, ways: list[Callable[[socket.socket, int], None]], *, other_sends: bool, new: bool = False,
    folder: str | None = None,
) -> None:  # fmt: skip
    with tempfile.TemporaryFile(dir=folder) as file, socket.create_server(("127.0.0.1", 0)) as port:
        file.write(os.urandom(PIECE) * (SIZE // PIECE))
        file.flush()
        other = multiprocessing.get_context("spawn").Process(target=_pump, args=(port.getsockname()[1], other_sends))
        other.start()
        control, _ = port.accept()
        with control:
            found: dict[str, list[tuple[float, float]]] = {way.__name__: [] for way in ways}
            for turn in range(ROUNDS + 1):
                for way in ways:
                    figures = measure(way, port, control, file.fileno(), new)
                    if turn:
                        found[way.__name__].append(figures)
        other.join()
    print(title)
    for name, rows in found.items():
        rate, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"  {name:22} {rate:5.2f} GB/s  {cpu:5.2f} CPU s/GB")


if __name__ == "__main__":
    compare("file -> socket", [read_send, send_file], other_sends=False)
    down = [receive_write, receive_write_large, splice, splice_large]
    compare("socket -> file", down, other_sends=True)
    compare("socket -> new file", down, other_sends=True, new=True)
    compare("socket -> new file in memory", down, other_sends=True, new=True, folder="/dev/shm")
