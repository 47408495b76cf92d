"""Install servers (``python -m tests.servers install [NAME...]``), or run one until Ctrl-C (``... run NAME``)."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time

from tests.servers import Server, ServerUnavailable
from tests.servers.azurite import AzuriteServer
from tests.servers.gcs import GcsServer
from tests.servers.moto_server import MotoServer
from tests.servers.nginx import NginxServer
from tests.servers.radosgw import RadosgwServer
from tests.servers.swift import SwiftServer

SERVERS: dict[str, type[Server]] = {
    server.name: server for server in (MotoServer, SwiftServer, NginxServer, AzuriteServer, GcsServer, RadosgwServer)
}
DEFAULT = [name for name in SERVERS if name != "radosgw"]


def install(names: list[str]) -> int:
    """Install each server and say how long it took; 1 if one that was asked for by name cannot be had."""
    missing = 0
    for name in names or DEFAULT:
        started = time.monotonic()
        try:
            SERVERS[name].install()
        except ServerUnavailable as error:
            print(f"{name}: not available: {error}")
            missing += 1
        else:
            print(f"{name}: installed ({time.monotonic() - started:.1f} s)", flush=True)
    return 1 if names and missing else 0


def run(name: str) -> int:
    """Run one server in the foreground."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    with SERVERS[name]() as server:
        print(f"# {name} ready in {time.monotonic() - started:.1f} s; Ctrl-C stops it")
        if server.lacks:
            print(f"# unlike the service, it {server.lacks}")
        for variable, value in server.env.items():
            print(f"export {variable}={shlex.quote(value)}", flush=True)
        try:
            while server.proc.poll() is None:
                time.sleep(0.2)
        except KeyboardInterrupt:
            return 0
        print(server.logs(), file=sys.stderr)
        return 1


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = options.add_subparsers(dest="command", required=True)
    commands.add_parser("install").add_argument("names", nargs="*", choices=[[], *SERVERS], metavar="NAME")
    commands.add_parser("run").add_argument("name", choices=list(SERVERS))
    args = options.parse_args()
    return install(args.names) if args.command == "install" else run(args.name)


if __name__ == "__main__":
    sys.exit(main())
