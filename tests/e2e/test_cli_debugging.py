"""What the command tells of requests, retries and time, and what it says when it is interrupted."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3dlio.client import Client
from s3dlio.errors import BatchError
from s3dlio.net import tracing
from s3dlio.net.message import Service
from s3dlio.transfer import runner
from s3dlio.transfer.summary import Tally
from tests.e2e.conftest import Cli
from tests.servers.scripted import Expect, ScriptedServer, respond
from tests.wire.s3_harness import settings_of


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[ScriptedServer], None]:
    def use(server: ScriptedServer) -> None:
        names = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "SECRET-1"}
        more = {"AWS_REGION": "us-east-1", "S3DLIO_RETRY_BASE_DELAY_SECS": "0.001"}
        for name, value in (names | more).items():
            monkeypatch.setenv(name, value)

    return use


def busy_then(*answers: object) -> list[object]:
    return [Expect(), respond("503 Slow Down"), *answers]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """What was logged, as ``logger: message``; the levels are as before when the test has ended."""
    yield lambda: "\n".join(f"{record.name}: {record.getMessage()}" for record in caplog.records)
    caplog.set_level(logging.WARNING, "s3dlio")
    tracing.look()


def test_a_retry_is_counted_and_told(
    cli: Cli, scripted: Callable[[ScriptedServer], None], logged: Callable[[], str]
):
    with ScriptedServer([busy_then(Expect(), respond(body=b"1"))]) as server:
        scripted(server)
        run = cli("get", "s3://b/k", "-vv")
    assert "1 request sent again after failures" in run.err
    assert re.search(r"s3dlio.net.requests: GET http://\S+/b/k: 503; attempt 1; ", logged())
    assert re.search(r"s3dlio.net: GET http://\S+/b/k: answered 503 Slow Down; attempt 2 of at most 5 foll", logged())
    assert "SECRET-1" not in logged()


def test_json_has_the_retries(cli: Cli, scripted: Callable[[ScriptedServer], None]):
    with ScriptedServer([busy_then(Expect(), respond(body=b"1"))]) as server:
        scripted(server)
        (record,) = cli("get", "s3://b/k", "--json").records
    assert (record["retries"], record["succeeded"]) == (1, 1)
    assert record["latency_ns"].keys() == record["first_byte_ns"].keys() == {"p50", "p90", "p99", "max"}


def test_retries_of_worker_processes_count(cli: Cli, scripted: Callable[[ScriptedServer], None]):
    with ScriptedServer([busy_then(Expect(), respond(body=b"1"))]) as server:
        scripted(server)
        (record,) = cli("get", "s3://b/k", "--procs", 2, "--json").records
    assert (record["retries"], record["succeeded"]) == (1, 1)


def test_certificates_are_read_before_the_clock_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "a").write_text("a")
    order: list[str] = []
    monkeypatch.setattr(Service, "prepare", lambda self: order.append("prepared"))
    start = Tally.start
    monkeypatch.setattr(Tally, "start", lambda self: (order.append("started"), start(self))[1])
    with ScriptedServer([[Expect(), respond(headers=[("etag", '"e"')])]]) as server:
        Client(settings_of(server.endpoint)).upload(tmp_path / "a", "s3://b/")
    assert order == ["prepared", "started"]


def test_dump_headers(cli: Cli, scripted: Callable[[ScriptedServer], None], logged: Callable[[], str]):
    with ScriptedServer([[Expect(), respond(body=b"1", headers=[("x-amz-request-id", "RID")])]]) as server:
        scripted(server)
        cli("get", "s3://b/k", "--dump", "headers")
    assert "s3dlio.net.headers: request to http://" in logged()
    assert "\n> authorization: AWS4-HMAC-SHA256 ***" in logged()
    assert "\n< x-amz-request-id: RID\n" in logged()


def test_failures_and_interrupts_have_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").write_text("a")
    script = [busy_then(Expect(), respond("403 Forbidden"))]
    with ScriptedServer(script) as server, pytest.raises(BatchError) as failed:
        Client(settings_of(server.endpoint)).upload(tmp_path / "a", "s3://b/")
    assert (failed.value.summary.retries, failed.value.summary.failed) == (1, 1)

    def interrupt(*words: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_calls", interrupt)
    with pytest.raises(KeyboardInterrupt) as ended:
        Client().upload(tmp_path / "a", "memory://interrupted/")
    assert vars(ended.value)["summary"].succeeded == 0


def test_an_interrupted_transfer_prints_what_was_done(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in "ab":
        (tmp_path / name).write_text(name)

    def fall(self: object, *words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner._RunningPlan, "on_done", fall)
    run = cli("upload", tmp_path / "a", "memory://interrupted-2/", code=130)
    assert run.err.startswith("\nInterrupted\n0 objects: 0 bytes in ")
    assert run.out == "UPLOAD summary: attempted=1, succeeded=0, failed=0\n"
    record = json.loads(cli("upload", tmp_path / "a", "memory://interrupted-2/", "--json", code=130).out)
    assert record["interrupted"] is True


def test_the_time_begins_with_the_first_object():
    tally = Tally()
    began = time.monotonic()
    tally.start()
    assert tally.summary().seconds <= time.monotonic() - began
