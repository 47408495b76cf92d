"""``s3-cli analyze``: its forms, and its pages, which a real browser lays out where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import s3dlio
from s3dlio.cli.main import main
from tests.oplog_runs import Row, log, run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
HOSTILE = "<script>alert(1)</script>&\"'"
#: What a browser tells of a page that it has laid out.
MEASURE = """<script>
const box = e => e.getBoundingClientRect();
const found = {wide: document.documentElement.scrollWidth - innerWidth, out: [], empty: 0};
for (const svg of document.querySelectorAll('svg')) {
  const around = box(svg);
  if (around.width < 100 || around.height < 60) found.empty++;
  for (const text of svg.querySelectorAll('text')) {
    const b = box(text);
    if (b.left < around.left - 1 || b.right > around.right + 1 || b.bottom > around.bottom + 1)
      found.out.push(text.textContent);
  }
}
found.plots = document.querySelectorAll('svg').length;
found.lines = [...document.querySelectorAll('svg .line')].filter(e => e.getTotalLength() > 50).length;
const style = getComputedStyle(document.body);
found.colours = [style.color, style.backgroundColor];
document.body.setAttribute('data-found', JSON.stringify(found));
</script>"""


def busy(row: Row, chance: np.random.Generator) -> None:
    row["op"] = str(chance.choice(["GET", "PUT", "HEAD"]))
    row["bytes"] = 0 if row["op"] == "HEAD" else int(chance.choice([4096, 8 << 20]))
    row["endpoint"] = f"http://10.0.0.{chance.integers(1, 5)}:9000"
    row["client_id"] = ("agent-1", "agent-2", HOSTILE)[row["thread"] % 3]
    row["latency"] *= 3 if row["endpoint"].startswith("http://10.0.0.3") else 1
    if row["begin"] > 0.4 and chance.random() < 0.1:
        row["error"] = "503 SlowDown"
    elif chance.random() < 0.01:
        row["error"] = f"not found: {HOSTILE}"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("logs")
    names = {seed: folder / f"{HOSTILE.replace('/', '')}-{seed}.tsv" for seed in (1, 2)}
    return [str(log(name, run(seed, count=2_000, change=busy))) for seed, name in names.items()]


def test_the_text(logs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "--skip-warmup", "100ms", logs[0]]) == 0
    out = capsys.readouterr().out
    for words in ("in the first 100 ms left out", "! The store throttles", "! Endpoint http://10.0.0.3:9000 is slow",
                  "LATENCY", "FIRST BYTE", "OVER TIME", "CLIENTS", "ENDPOINTS", "ERRORS"):  # fmt: skip
        assert words in out
    assert max(map(len, out.splitlines())) <= 160


def test_json(logs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "analyze", *logs, "--clock-offset", f"{logs[1]}=-1.5"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["schema"] == "s3dlio-analyze/1"
    assert found["logs"][1]["clock_offset_s"] == -1.5
    report = s3dlio.analyze_op_logs(logs, clock_offsets=[0, -1.5])
    assert found == json.loads(json.dumps(report.to_dict(), allow_nan=False))


def test_comparing(logs: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["analyze", "--compare", logs[0], logs[1], "--html", str(page), "--confidence", "0.95"]) == 0
    assert "95 % interval" in capsys.readouterr().out
    assert main(["analyze", "--json", "--compare", *logs]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["op"] for one in found["differences"]} == {"GET", "PUT", "HEAD"}
    check_page(page)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "name the logs"), (["a", "--compare", "b", "c"], "name the logs"), (["--compare", "a"], "expected 2"),
        (["a", "--clock-offset", "b=1"], "none of the logs"), (["a", "--clock-offset", "1"], "LOG=SECONDS"),
        (["--compare", "a", "b", "--perfetto", "c"], "one run"), (["a", "--skip-warmup", "soon"], "invalid duration"),
        (["a", "--confidence", "2"], "0.5 to 0.999"),
    ],
)  # fmt: skip
def test_what_is_refused(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", *words]) == 2
    assert reason in capsys.readouterr().err


def test_a_log_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("hello\n")
    assert main(["analyze", str(tmp_path / "x")]) == 1
    assert "no op-log" in capsys.readouterr().err
    assert main(["analyze", str(tmp_path / "y")]) == 1


def test_globs_that_the_shell_left(logs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "--json", f"{Path(logs[0]).parent}/*.tsv"]) == 0
    assert len(json.loads(capsys.readouterr().out)["logs"]) == 2


@pytest.fixture(scope="module")
def page(logs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    trace = path.with_suffix(".json")
    assert main(["analyze", *logs, "--html", str(path), "--perfetto", str(trace)]) == 0
    assert json.loads(trace.read_text())["traceEvents"]
    return path


class _Page(HTMLParser):
    """Checks that tags are closed in order, and that nothing in them leads elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onclick", "onload", "xlink:href"}
        if tag not in ("meta", "rect", "path", "circle") or tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(path: Path) -> str:
    text = path.read_text()
    parser = _Page()
    parser.feed(text)
    assert not parser.open
    assert not parser.tags & {"script", "link", "img", "iframe", "object"}
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text
    assert HOSTILE not in text
    return text


def test_the_page_needs_no_other_file_and_escapes_names(page: Path) -> None:
    text = check_page(page)
    for words in ("What holds it back", "throttling begins", "Throughput", "In flight", "Latency of GET", "Endpoints",
                  "Clients", "Errors", "time since the start, ms", "GiB/s"):  # fmt: skip
        assert words in text
    assert "prefers-color-scheme:dark" in text
    assert len(text) < 2_000_000


def laid_out(page: Path, folder: Path, width: int, *, dark: bool) -> dict[str, Any]:
    """What a browser makes of a page: it is measured by a script, which its own policy would forbid."""
    copy = folder / "measured.html"
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text()).replace("</body>", f"{MEASURE}</body>")
    copy.write_text(text)
    assert BROWSER is not None
    words = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
             f"--window-size={width},900",
             f"--user-data-dir={folder}/profile", "--host-resolver-rules=MAP * ~NOTFOUND",
             f"--blink-settings=preferredColorScheme={0 if dark else 1}"]  # fmt: skip
    done = subprocess.run([*words, "--dump-dom", copy.as_uri()], capture_output=True, timeout=50, check=True)
    found = re.search(r'data-found="([^"]*)"', done.stdout.decode())
    assert found, done.stderr.decode()[-500:]
    return dict(json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&")))


def brightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 765


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (600, False)])
def test_a_browser_lays_the_page_out(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    found = laid_out(page, tmp_path, width, dark=dark)
    assert found["plots"] >= 8
    assert found["lines"] >= 8
    assert (found["empty"], found["out"]) == (0, [])
    assert found["wide"] <= 0  # nothing is wider than the window
    ink, paper = map(brightness, found["colours"])
    assert (ink - paper if dark else paper - ink) > 0.6
