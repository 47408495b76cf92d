"""Every example of the documents runs: Python and commands, page by page, on a real S3.

The examples of a page run in their order, in one namespace. Azure's and Google's URIs become buckets of S3: that their
stores behave alike is what the conformance suite holds. What is there for comparison (with the name of another program
as its title) is not run, and neither is what ``docs_stage.APART`` names.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from tests.e2e import docs_stage
from tests.e2e.conftest import Cli
from tests.servers.moto_server import MotoServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]*)\")?[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHELL = ("sh", "bash", "console", "shell")
_OURS = ("", "s3dlio", "s3-cli")
RUN = {"s3-cli", "mkdir", "export", "eval"}
"""A line of a shell without one of these words is not run: it installs or starts something."""


@dataclass(frozen=True)
class Example:
    language: str
    code: str
    line: int


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix().removeprefix("docs/")


def examples(page: Path) -> Iterator[Example]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        if match[2] in (None, *_OURS) and match[1] in ("python", *_SHELL):
            yield Example(match[1], match[3], text[: match.start()].count("\n") + 1)


def apart(name: str, code: str) -> bool:
    return any(key.partition(": ")[0] == name and code.startswith(key.partition(": ")[2]) for key in docs_stage.APART)


PAGES_WITH_EXAMPLES = [page for page in PAGES if any(examples(page)) and name_of(page) not in docs_stage.APART]


@pytest.fixture(scope="module")
def service() -> Iterator[MotoServer]:
    server = MotoServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def stage(
    service: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_settings: None
) -> Iterator[Path]:
    service.reset()
    for name, value in service.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.chdir(tmp_path)
    docs_stage.prepare(tmp_path)
    yield tmp_path
    docs_stage.clear()


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=name_of)
@pytest.mark.timeout(120)
def test_every_example_runs(page: Path, stage: Path, service: MotoServer, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    name = name_of(page)
    space: dict[str, Any] = {"__name__": "example", "s3dlio": s3dlio} | docs_stage.NAMES.get(name, dict)()
    texts = docs_stage.TEXTS.get(name, {}) | space.pop("texts", {})
    for example in examples(page):
        if apart(name, example.code):
            continue
        code = staged(example.code, texts, stage, service)
        where = f"{name}, line {example.line}"
        if example.language == "python":
            try:
                exec(compile(code, where, "exec"), space)
            except (ModuleNotFoundError, s3dlio.MissingDependencyError) as error:
                if str(getattr(error, "name", "")).startswith("s3dlio"):
                    raise
                pytest.skip(f"{where}: {error}")
        else:
            run_lines(code, name, cli, monkeypatch)


def staged(code: str, texts: dict[str, str], folder: Path, service: MotoServer) -> str:
    """The example with this server, this folder, and the figures of a test."""
    for old, new in texts.items():
        code = code.replace(old, new)
    code = re.sub(r"s3dlio://gs/", "s3dlio://s3/", code)
    code = re.sub(r"\baz://\w+/(\w+)", r"s3://\1", code)
    code = re.sub(r"\bgs://", "s3://", code)
    code = re.sub(r"(s3-cli bench .*)(--duration|-d) \w+", r"\1--duration 0.2s", code)
    code = re.sub(r"(s3-cli bench \w+ [^ ]+)", r"\1 --warm-up 0 --duration 0.2s", code)
    here = service.env["AWS_ENDPOINT_URL"]
    code = code.replace("http://10.0.0.2:9000", here.replace("127.0.0.1", "localhost"))
    code = re.sub(r"http://(127\.0\.0\.1:900\d|10\.0\.0\.[\d{}.]+:9000)", here, code)
    return re.sub(r"(?<=[\"' ])(file://)?/(?=(data|tmp|mnt|backup|scratch)/)", rf"\1{folder}/", code)


def run_lines(code: str, name: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in code.replace("\\\n", " ").splitlines():
        line = line.strip().removeprefix("$ ")
        if not line or line.startswith("#") or apart(name, line):
            continue
        words = shlex.split(line, comments=True)
        if not set(words) & RUN and not words[0].startswith("AWS_"):
            continue
        if words[0] == "export":
            for word in words[1:]:
                monkeypatch.setenv(*word.split("=", 1))
        elif words[:2] == ["s3-cli", "--version"]:
            continue
        elif words[0] == "s3-cli" and not re.search(r"[|>;&]|\$\(|\*[^']*$", line.partition("  #")[0]):
            cli(*words[1:])
        else:
            done = subprocess.run(
                ["bash", "-ec", "set -o pipefail; " + line], capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"


def test_what_is_not_run_is_there() -> None:
    """A reason, or a figure, for an example that went is of no use."""
    wanted = [*(key.partition(": ")[::2] for key in docs_stage.APART), *(
        (name, text) for name, texts in docs_stage.TEXTS.items() for text in texts
    )]  # fmt: skip
    texts = {name_of(page): page.read_text(encoding="utf-8") for page in PAGES}
    assert [pair for pair in wanted if pair[1] not in texts[pair[0]]] == []
    assert docs_stage.NAMES.keys() <= texts.keys()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_says_what_it_is(page: Path) -> None:
    """What has no language is not run: what a program prints, and usage."""
    text = page.read_text(encoding="utf-8")
    plain = re.findall(r"^```\n(.*?)^```", re.sub(r"^```\w.*?^```$", "", text, flags=re.M | re.S), re.M | re.S)
    assert not [code for code in plain if code.startswith(("s3-cli ", "$ s3-cli ", "import s3dlio"))]
