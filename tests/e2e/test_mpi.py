"""Commands and programs of several ranks under mpirun, against real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3dlio
from s3dlio import Client
from tests.mpi import command_line, mpirun, run_command, run_ranks
from tests.servers.limited import LimitedS3
from tests.servers.memory_s3 import MemoryS3

RANKS = 4
#: A busy machine takes long to start so many interpreters.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryS3]:
    mpirun()
    with MemoryS3() as started:
        yield started


def stored(server: MemoryS3, uri: str, number: int) -> None:
    with Client(endpoint_url=server.endpoint, access_key_id="a", secret_access_key="b", region="us-east-1") as client:
        client.put(uri, number, size=10)


def test_objects_are_written_listed_once_and_read_by_all(server: MemoryS3, tmp_path: Path) -> None:
    put = run_command(RANKS, "put", "s3://b/data/", "-n", "42", "-s", "1000", "--json", env=server.env)
    assert put.returncode == 0, put.stderr
    told = json.loads(put.stdout)
    assert (told["succeeded"], told["bytes"]) == (42, 42_000)
    assert [(part["rank"], part["succeeded"]) for part in told["ranks"]] == [(0, 11), (1, 11), (2, 10), (3, 10)]
    assert server.counts()["PUT"] == 42

    log = tmp_path / "log.zst"
    get = run_command(RANKS, "get", "s3://b/data/", "--op-log", log, env=server.env)
    assert (get.returncode, get.stdout) == (0, "GET summary: attempted=42, succeeded=42, failed=0\n"), get.stderr
    assert server.counts()["GET"] == 42 + 1  # one of the ranks lists
    rows = list(s3dlio.read_op_log(str(log)))
    assert Counter(row["op"] for row in rows) == {"LIST": 1, "GET": 42}
    assert {row["client_id"] for row in rows} == {f"rank-{rank}" for rank in range(RANKS)}
    assert [row["start"] for row in rows] == sorted(row["start"] for row in rows)
    assert list(tmp_path.iterdir()) == [log]

    again = run_command(RANKS, "replay", log, "--target", "s3://b/", "--json", env=server.env)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["attempted"] == 43


def test_a_benchmark_is_one_of_all(server: MemoryS3) -> None:
    words = ["bench", "get", "s3://b/bench/", "--count", "40", "--objects", "8", "--size", "1KiB", "--warm-up", "0"]
    found = run_command(RANKS, *words, "--concurrent", "4", "--json", env=server.env)
    assert found.returncode == 0, found.stderr
    (run,) = json.loads(found.stdout)["runs"]
    assert run["operations"]["GET"]["operations"] == 40
    assert [(part["rank"], part["operations"]) for part in run["ranks"]] == [(rank, 10) for rank in range(RANKS)]


#: Runs the command line, and something else first at one of the ranks.
ODD_ONE = """
import os, signal, sys
from s3dlio.transfer import runner
if os.environ["OMPI_COMM_WORLD_RANK"] == "2":
    def odd(*arguments, **options):
        {what}
    runner.open_destination = odd
from s3dlio.__main__ import main
sys.exit(main())
"""


def test_an_error_of_one_rank_ends_the_job_with_it(server: MemoryS3, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(ODD_ONE.format(what="raise s3dlio.S3dlioError('no room for it', uri='file:///place')"
                                      ).replace("import os,", "import s3dlio, os,"))  # fmt: skip
    stored(server, "s3://b/some/", 20)
    found = run_ranks(RANKS, program, "download", "s3://b/some/", f"{tmp_path}/target/", "-r", env=server.env)
    assert found.returncode != 0
    assert found.stderr.count("no room for it") == 1
    assert "Error: file:///place: no room for it (on rank 2 of 4, host " in found.stderr


def test_a_rank_that_dies_ends_the_job_and_it_can_go_on(server: MemoryS3, tmp_path: Path) -> None:
    program, target = tmp_path / "program.py", f"{tmp_path}/target/"
    program.write_text(ODD_ONE.format(what="os.kill(os.getpid(), signal.SIGKILL)"))
    stored(server, "s3://b/more/", 40)
    words = ["download", "s3://b/more/", target, "-r", "--journal", f"{tmp_path}/journal"]
    died = run_ranks(RANKS, program, *words, env=server.env)
    assert died.returncode != 0
    whole = {path.read_bytes() for path in Path(target).iterdir() if not path.name.startswith(".")}
    assert {len(data) for data in whole} <= {10}
    again = run_command(RANKS, *words, env=server.env)
    assert again.returncode == 0, again.stderr
    assert len(list(Path(target).iterdir())) == 40
    assert not list(tmp_path.glob("journal*"))


def test_a_job_that_is_terminated_ends_and_what_it_has_written_is_whole(server: MemoryS3) -> None:
    words = command_line(2, "-m", "s3dlio", "put", "s3://b/long/", "-n", "1000000", "-s", "100")
    server.counts()
    with subprocess.Popen(
        words, env={**os.environ, **server.env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as job:  # fmt: skip
        while not server.counts().get("PUT"):
            assert job.poll() is None
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=30)  # its output ends when the last rank has
    assert job.returncode != 0
    with Client(endpoint_url=server.endpoint, access_key_id="a", secret_access_key="b", region="us-east-1") as client:
        sizes = {entry.size for _, page in client.select("s3://b/long/") for entry in page.entries}
    assert sizes == {100}


def test_a_program_of_several_ranks(server: MemoryS3, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from s3dlio.cluster import join\n"
        "with join() as job:\n"
        "    put = job.client.put('s3://b/program/', 10, size=100)\n"
        "    copied = job.client.copy('s3://b/program/', 's3://b/copied/', recursive=True)\n"
        "    if not job.rank:\n"
        "        print(job.size, put.succeeded, copied.succeeded, len(copied.ranks), job.group.share('one'))\n"
        "    else:\n"
        "        job.group.share('')\n"
    )
    found = run_ranks(RANKS, program, env=server.env)
    assert (found.returncode, found.stdout) == (0, "4 10 10 4 one\n"), found.stderr


def test_without_mpi4py_there_is_one_error_instead_of_the_same_work_by_all(server: MemoryS3, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys\nsys.modules['mpi4py'] = None\nfrom s3dlio.__main__ import main\nsys.exit(main())\n")
    server.counts()
    found = run_ranks(2, program, "put", "s3://b/nothing/", "-n", "4", "-s", "10", env=server.env)
    assert found.returncode != 0
    assert found.stderr.count("mpi4py is not to be had") == 1
    assert "s3dlio[mpi]" in found.stderr
    assert "PUT" not in server.counts()
    alone = run_ranks(
        2, program, "put", "s3://b/nothing/", "-n", "4", "-s", "10", env={**server.env, "S3DLIO_MPI": "0"}
    )
    assert alone.returncode == 0, alone.stderr
    assert server.counts()["PUT"] == 8


def test_ranks_of_a_host_share_one_limit_of_requests() -> None:
    """Eight ranks want 32 requests in flight each, of a service that takes 32 in all: few are refused."""
    mpirun()
    with LimitedS3(32, 0.02, 1500) as service:
        env = {key: value for key, value in {**os.environ, **service.env}.items() if key != "S3DLIO_ADAPTIVE"}
        found = run_command(8, "get", "s3://b/numbered/", "-j", "32", "--json", env=env)
        assert found.returncode == 0, found.stderr
        counts = service.counts()
        assert counts["read"] == json.loads(found.stdout)["succeeded"] == 1500
        assert counts["refused"] <= 0.15 * counts["read"], counts
