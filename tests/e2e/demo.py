"""The main job on real input: ``make demo``, or ``python -m tests.e2e.demo``.

A real tree of files (the installed numpy package, or ``--tree``) goes to S3 and comes back three ways; generated
objects are written and read; what was made is deleted. Every file and object is compared by CRC32C. It runs on an
embedded S3, or on the service that ``AWS_ENDPOINT_URL`` names, in a bucket of its own or in ``--bucket`` (or
``DEMO_BUCKET``).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import s3dlio
from s3dlio.figures import size as human_size
from s3dlio.memory.crc32c import crc32c
from tests.servers.moto_server import MotoServer

GENERATED, GENERATED_SIZE, SEED = 200, 256 << 10, 42
TEMPLATE = "generated-{}-of-{}.bin"

#: What a name of a tree holds: its size and its CRC32C.
Tree = Mapping[str, tuple[int, int]]


class Difference(Exception):
    """Something did not come back as it was sent."""


class Step(NamedTuple):
    """One row of the table."""

    name: str
    objects: int
    size: int
    seconds: float


class Demo:
    """Runs the steps and keeps their rows.

    Args:
        source: the tree of files.
        prefix: the URI of a directory that is ours alone, with a ``/`` at its end.
        folder: a local directory that is ours alone.
    """

    def __init__(self, source: Path, prefix: str, folder: Path) -> None:
        self.source = source
        self.prefix = prefix
        self.folder = folder
        self.rows: list[Step] = []
        self.compared = [0, 0]

    def run(self) -> None:
        """Every step, in order.

        Raises:
            Difference: an object is missing, surplus or not the same.
        """
        tree = read_tree(self.source)
        remote = f"{self.prefix}{self.source.name}/"
        name = f"upload  {self.source.name} -> s3://"
        self._step(name, tree, lambda: s3_cli("upload", "-r", self.source, remote))
        self._step("ls -r   s3://", tree, lambda: self._check_listing(remote, tree), moved=False)
        self._step("stat    s3:// (library)", tree, lambda: self._check_stats(remote, tree), moved=False)
        for scheme in ("file", "direct"):
            target = self.folder / scheme
            name = f"download s3:// -> {scheme}://"
            self._step(name, tree, lambda uri=f"{scheme}://{target}/": s3_cli("download", "-r", remote, uri))
            self._compare(name, tree, read_tree(target))
        self._step("get_many s3:// (library)", tree, lambda: self._check_objects("get_many", remote, tree))
        local = f"file://{self.folder}/file/"
        self._step("get     file://", tree, lambda: s3_cli("get", "-r", local))
        self._step("sync    s3:// -> file:// (no change)", tree, lambda: self._check_sync(remote, local), moved=False)

        made, expected = self.prefix + "generated/", generated_tree()
        options = ("-n", GENERATED, "-s", GENERATED_SIZE, "-t", TEMPLATE, "--seed", SEED)
        self._step("put     generated -> s3://", expected, lambda: s3_cli("put", made, *options))
        self._step("get     s3://", expected, lambda: s3_cli("get", "-r", made))
        self._check_objects("put", made, expected)

        everything = {**tree, **{f"generated/{name}": about for name, about in expected.items()}}
        self._step("rm -r   s3://", everything, lambda: s3_cli("rm", "-r", "--yes", self.prefix), moved=False)
        if left := s3dlio.list(self.prefix, recursive=True):
            raise Difference(f"rm: {len(left)} objects are still there, {left[0]} for one")

    def _step(self, name: str, tree: Tree, action: Callable[[], object], *, moved: bool = True) -> None:
        start = time.perf_counter()
        action()
        seconds = time.perf_counter() - start
        size = sum(size for size, _ in tree.values()) if moved else 0
        self.rows.append(Step(name, len(tree), size, seconds))

    def _compare(self, name: str, expected: Tree, found: Tree) -> None:
        if different := sorted(expected.items() ^ found.items()):
            names = sorted({name for name, _ in different})
            raise Difference(f"{name}: {len(names)} objects differ: {', '.join(names[:5])}")
        self.compared[0] += len(found)
        self.compared[1] += sum(size for size, _ in found.values())

    def _check_listing(self, uri: str, tree: Tree) -> None:
        sizes = {entry["uri"].removeprefix(uri): entry["size"] for entry in s3_cli("ls", "-r", uri)}
        if sizes != {name: size for name, (size, _) in tree.items()}:
            raise Difference(f"ls: names or sizes of {uri} are not those of the files")

    def _check_stats(self, uri: str, tree: Tree) -> None:
        names = sorted(tree)
        (one,) = s3_cli("stat", uri + names[0])
        if one["size"] != tree[names[0]][0]:
            raise Difference(f"stat: the size of {one['uri']} is not that of the file")
        told = s3dlio.stat_many([uri + name for name in names])
        if [about["size"] for about in told] != [tree[name][0] for name in names]:
            raise Difference(f"stat: sizes of {uri} are not those of the files")

    def _check_sync(self, source: str, target: str) -> None:
        (summary,) = s3_cli("sync", source, target)
        if summary["attempted"]:
            raise Difference(f"sync: {summary['attempted']} files of {target} were copied again")

    def _check_objects(self, name: str, uri: str, tree: Tree) -> None:
        objects = s3dlio.get_many([uri + name for name in tree])
        self._compare(name, tree, {key.removeprefix(uri): (len(data), crc32c(data)) for key, data in objects})

    def print_table(self) -> None:
        """One row for each step, and what was compared."""
        print(f"\n{'step':<38}{'objects':>9}{'bytes':>12}{'seconds':>9}{'rate':>18}")
        print("-" * 86)
        for name, objects, size, seconds in self.rows:
            rate = f"{human_size(size / seconds)}/s" if size else f"{objects / seconds:,.0f} objects/s"
            print(f"{name:<38}{objects:>9}{human_size(size) if size else '':>12}{seconds:>9.2f}{rate:>18}")
        objects, size = self.compared
        print(f"\nevery byte verified: {objects:,} objects, {human_size(size)}, compared by CRC32C")


def numpy_folder() -> Path:
    """The installed numpy package: over a thousand real files, from empty ones to megabytes."""
    found = importlib.util.find_spec("numpy")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("demo: numpy is not installed; run it with 'make demo'")
    return Path(found.submodule_search_locations[0])


def read_tree(folder: Path) -> Tree:
    """Every file beneath a folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found[path.relative_to(folder).as_posix()] = (len(data), crc32c(data))
    return found


def generated_tree() -> Tree:
    """What ``s3-cli put`` with our seed must have made, generated here a second time."""
    source = s3dlio.DataSource(GENERATED_SIZE, seed=SEED)
    buffer = bytearray(GENERATED_SIZE)
    found = {}
    for index in range(GENERATED):
        source.fill(buffer, index=index)
        name = TEMPLATE.replace("{}", str(index), 1).replace("{}", str(GENERATED), 1)
        found[name] = (GENERATED_SIZE, crc32c(buffer))
    return found


def s3_cli(*words: object) -> Sequence[dict[str, Any]]:
    """Run the real command in a process of its own; its bars go to our terminal, its JSON is returned."""
    command = [sys.executable, "-m", "s3dlio", *map(str, words), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Difference(f"s3-cli {' '.join(map(str, words))}: exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def service() -> Iterator[str]:
    """The S3 to work on; its settings are in the environment for the time of the block."""
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        yield endpoint
        return
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]  # the embedded S3 is not the user's account
    with MotoServer() as server:
        os.environ.update(server.env)
        yield f"{server.endpoint} (embedded)"


@contextlib.contextmanager
def place(bucket: str | None) -> Iterator[str]:
    """A prefix in ``bucket``, or in a new bucket that goes when the block ends; empty again afterwards."""
    name = bucket or f"s3dlio-demo-{secrets.token_hex(4)}"
    prefix = f"s3://{name}/demo-{secrets.token_hex(4)}/"
    s3_cli("create-bucket", f"s3://{name}")
    try:
        yield prefix
    finally:
        s3dlio.delete(prefix, recursive=True)
        if bucket is None:
            s3_cli("delete-bucket", f"s3://{name}")


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code says whether everything came back as it was sent."""
    options = argparse.ArgumentParser(prog="demo", description="The main job on real input, every byte verified.")
    options.add_argument("--bucket", default=os.environ.get("DEMO_BUCKET"), help="use this bucket, not a new one")
    options.add_argument("--tree", type=Path, help="use the files beneath this folder, not those of numpy")
    args = options.parse_args(words)
    source = args.tree.resolve() if args.tree else numpy_folder()
    try:
        with service() as endpoint, tempfile.TemporaryDirectory(prefix="s3dlio-demo-") as folder:
            print(f"S3 at {endpoint}", flush=True)
            with place(args.bucket) as prefix:
                demo = Demo(source, prefix, Path(folder))
                demo.run()
    except (Difference, s3dlio.S3dlioError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    demo.print_table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
