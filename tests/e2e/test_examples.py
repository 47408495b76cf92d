"""The programs and notebooks of ``examples/`` do what they say, on real servers."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import Server

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

#: Words for a shorter run, and the lines that come then, whatever the machine.
RUNS: dict[str, tuple[list[str], list[str]]] = {
    "checkpoint_and_resume": ([], ["epoch 2: .* saved", "killed by SIGKILL", "epoch 3: .*", r"checkpoints: .* 5\]"]),
    "compare_endpoints": (
        ["--rounds", "1", "--duration", "0.2s", "--size", "4KiB"], ["a http.* MB/s; .*", "b http.* MB/s; .*", "b/a .*"],
    ),
    "dataset_exactly_once": ([], ["stopped after 64 records; .*", r"200 records, each came \[1\] times"]),
    "distributed_checkpoint": ([], [r"saved rows, loaded columns \(1024, 128\) .*: equal", r".*\.metadata: .*"]),
    "from_s3torchconnector": ([], ["map: 24 .*", "iterable, .*: 240,276 bytes", ".* equals saved: True"]),
    "many_small_gets": (["--objects", "100"], [r"gather \(409,600 bytes, .*", r"get_many_async \(100 .*"]),
    "migrate_bucket": ([], ["made 50 .*", "copied 50 .*", "50 are the same .*; identical: True"]),
    "parquet_row_groups": ([], [r"row group 1: 1000 rows of \['col0', 'col2'\]", "an epoch: .* 8,000 rows"]),
    "record_and_replay": (["--objects", "20", "--speed", "9"], ["recorded 21 .*", r".*: \{'GET': 20, 'LIST': 1\}"]),
    "stream_a_log": ([], [".*last row: .*0.006745.*", "read back: 5000 .*", ".*half.log is there: False"]),
    "sync_and_verify": ([], ["first: 40 .*", "dry run: 1 .*, 1 .*", "verified: 39 the same; identical: True"]),
    "train_from_s3": (["--samples", "64", "--epochs", "2"], ["epoch 0: 2 batches, .*", "epoch 1: 2 batches, .*"]),
    "zero_copy": (["--megabytes", "1"], ["get: .*True, no copy: True", "get_into: .*True", "get_range: .*True"]),
}  # fmt: skip
#: They start processes that find them by their file: programs of their own here, too.
OF_THEIR_OWN = {"checkpoint_and_resume", "distributed_checkpoint"}
NEEDS = {"parquet_row_groups": "pyarrow"} | dict.fromkeys(
    ("train_from_s3", "checkpoint_and_resume", "distributed_checkpoint", "from_s3torchconnector"), "torch"
)

Program = Callable[..., str]


def _exited_well(code: int = 0) -> None:
    assert code == 0


@pytest.fixture
def program(
    moto_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fresh_settings: None
) -> Program:
    """Run an example on an S3, and return what it prints."""
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(name: str, *words: str) -> str:
        path = EXAMPLES / f"{name}.py"
        if name in OF_THEIR_OWN:
            done = subprocess.run([sys.executable, path, *words], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout
        monkeypatch.setattr(sys, "argv", [str(path), *words])
        monkeypatch.setattr(sys, "exit", _exited_well)
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_what_it_says(name: str, program: Program, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    words, expected = RUNS[name]
    place = ["--bucket", f"s3://example-{name.replace('_', '-')}"]
    if name == "migrate_bucket":
        place = ["--source", "s3://example-old", "--target", f"file://{tmp_path}", "--journal", f"{tmp_path}/journal"]
    lines = program(name, *words, *place).splitlines()
    for line in expected:
        assert any(re.fullmatch(line, printed.strip()) for printed in lines), f"{line!r} is not in {lines}"


@pytest.mark.parametrize("target", ["gs", "az"])
def test_a_bucket_goes_to_another_cloud(
    target: str, program: Program, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server: Server = request.getfixturevalue({"gs": "gcs_server", "az": "azurite_server"}[target])
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    account = getattr(server, "account", "devstoreaccount1")
    there = {"gs": "gs://example-new", "az": f"az://{account}/example-new"}[target]
    printed = program("migrate_bucket", "--source", f"s3://example-to-{target}", "--target", there,
                      "--journal", str(tmp_path / "journal"))  # fmt: skip
    assert printed.endswith("50 are the same byte for byte; identical: True\n")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short_and_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert f"    python examples/{name}.py" in text.split('"""')[1]
    assert f"[{name}.py]({name}.py)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=50, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
