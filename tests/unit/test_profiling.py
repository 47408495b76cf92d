"""What ``--profile-run`` sees and draws."""

from __future__ import annotations

import re
import threading
import time
import xml.etree.ElementTree as ET

from s3dlio.cli.flame_graph import flame_graph
from s3dlio.cli.sampling import WAITING, Sampler

SVG = "{http://www.w3.org/2000/svg}"


def _boxes(drawn: str) -> dict[str, tuple[float, float, str]]:
    """By title: where a box begins, how wide it is, its colour."""
    boxes = {}
    for group in ET.fromstring(drawn).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert rect is not None
        name = re.sub(r": [\d.]+ s, .*", "", title.text or "")
        boxes[name] = float(rect.attrib["x"]), float(rect.attrib["width"]), rect.attrib["fill"]
    return boxes


def test_boxes_are_as_wide_as_the_time_and_lie_above_their_callers() -> None:
    seconds = {("main", "a.f"): 1.0, ("main", "a.f", "a.g"): 2.0, ("main", "a.f", "a.h", WAITING): 1.0}
    boxes = _boxes(flame_graph(seconds, "title"))
    whole = boxes["all threads"][1]
    assert {name: round(width / whole, 3) for name, (_, width, _) in boxes.items()} == {
        "all threads": 1.0, "main": 1.0, "a.f": 1.0, "a.g": 0.5, "a.h": 0.25, WAITING: 0.25,
    }  # fmt: skip
    assert boxes["a.g"][0] + boxes["a.g"][1] <= boxes["a.h"][0] + 0.1
    assert boxes[WAITING][2] != boxes["a.h"][2]


def test_names_that_are_markup_are_text() -> None:
    drawn = flame_graph({("<&\">", "<script>alert(1)</script>"): 1.0}, "<title> & more")
    assert "<script" not in drawn
    assert "<script>alert(1)</script>" in _boxes(drawn)


def test_a_graph_of_nothing_is_a_graph() -> None:
    assert _boxes(flame_graph({}, "nothing")) == {}


def _wait_here(began: threading.Event, end: threading.Event) -> None:
    began.set()
    end.wait()


def test_a_thread_that_waits_is_told_from_one_that_runs() -> None:
    began, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=_wait_here, args=(began, end), name="waits")
    thread.start()
    began.wait()
    sampler = Sampler()
    try:
        sampler.sample(0.001)  # clocks are looked at for the first time
        used = time.thread_time()
        while time.thread_time() - used < 0.002:  # this thread runs meanwhile
            pass
        sampler.sample(0.001)
    finally:
        end.set()
        thread.join()
    waits = [stack for stack in sampler.seconds if stack[0] == "waits"]
    assert waits
    assert all(stack[-1] == WAITING and any(name.endswith("_wait_here") for name in stack) for stack in waits)


def test_a_sampler_runs_beside_a_block() -> None:
    with Sampler(interval=0.0001) as sampler:
        while not sampler.samples:
            time.sleep(0)
    assert any(name.endswith("test_a_sampler_runs_beside_a_block") for stack in sampler.seconds for name in stack)
    assert not any("profiler" in stack for stack in sampler.seconds)
