"""Forks again and again while threads run batches; every child reads one object. Run as a program, by its test.

Prints ``forks failed``; a child that hangs writes where its threads are to standard error, and is killed.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socketserver
import sys
import threading
import time
import traceback

BODY = bytes(4096)
HEAD = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: %d\r\n\r\n' % len(BODY)
#: Seconds that a child may take for its first call.
PATIENCE = 20


class Handler(socketserver.StreamRequestHandler):
    """Answers every request with the same body."""

    def handle(self) -> None:
        while self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            self.wfile.write(HEAD + BODY)


def serve() -> tuple[int, int]:
    """A server in a process of its own; its pid and port."""
    socketserver.ThreadingTCPServer.daemon_threads = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    pid = os.fork()
    if not pid:
        server.serve_forever()
    port = server.server_address[1]
    server.server_close()
    return pid, port


def child(client: object, uri: str) -> int:
    """Fork; whether the child has read the object."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    status = 1
    try:
        faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
        signal.alarm(PATIENCE)
        status = int(bytes(client.get(uri)) != BODY)  # type: ignore[attr-defined]
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main(seconds: float, forks: int) -> None:
    from s3dlio.client import Client

    server, port = serve()
    client = Client(
        endpoint_url=f"http://localhost:{port}", region="us-east-1", access_key_id="a", secret_access_key="b",
        http={"pool_idle_seconds": 0.05},
    )  # fmt: skip
    stop = threading.Event()

    def batches(number: int) -> None:
        while not stop.is_set():
            client.get_many([f"s3://b{number}/{index}" for index in range(20)], 8)

    threads = [threading.Thread(target=batches, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    failed = done = 0
    ends = time.monotonic() + seconds
    while done < forks and time.monotonic() < ends:
        failed += child(client, "s3://b0/k") != 0
        done += 1
    stop.set()
    for thread in threads:
        thread.join()
    os.kill(server, signal.SIGKILL)
    sys.stdout.write(f"{done} {failed}\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
