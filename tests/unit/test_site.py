"""What the site is made of: every public name, pictures of the code as it is, and nothing from another host."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest

import s3dlio

DOCS = Path(__file__).resolve().parents[2] / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def diagrams() -> ModuleType:
    return script("diagrams")


def test_every_public_name_is_in_the_reference():
    pages = script("reference").pages()
    headings = re.findall(r"^## s3dlio\.(\w+)$", "\n".join(pages.values()), re.MULTILINE)
    modules = {name for name, home in s3dlio._homes().items() if home == "s3dlio"}
    private = {name for name in s3dlio._homes() if name.startswith("_")}
    assert sorted(headings) == sorted(s3dlio._homes().keys() - modules - private)


def test_a_docstring_becomes_lists():
    text = "\n".join(script("reference").described("""Read.

    Args:
        uri: which, in
            two lines.
        a, b: ``None`` or :func:`get`.

    Raises:
        A, B, ...
    """))  # fmt: skip
    assert text.split("\n\n") == [
        "Read.", "**Parameters**", "- `uri`: which, in two lines.\n- `a, b`: `None` or `get`.", "**Raises**",
        "A, B, ...\n",
    ]  # fmt: skip


def test_pictures_show_the_code(diagrams: ModuleType):
    texts = {
        name: [node.text for node in ElementTree.fromstring(draw()).iter("{http://www.w3.org/2000/svg}text")]
        for name, draw in diagrams.PICTURES.items()
    }
    assert {"cli", "checkpoint", "transfer", "engine", "stores", "net", "memory"} <= set(texts["rooms"])
    assert {"stores.s3", "stores.cloud", "stores.base", "net"} <= set(texts["stores"])
    assert {"lane", "exchange", "system"} <= set(texts["net"])
    assert {"client", "verbs", "stores", "net", "memory", "kernel", "send", "recv_into"} <= set(texts["get"])


def test_all_arrows_of_a_picture_point_down(diagrams: ModuleType):
    for path in ElementTree.fromstring(diagrams.rooms()).iter("{http://www.w3.org/2000/svg}path"):
        if path.get("class") == "arrow":
            numbers = [float(number) for number in re.findall(r"[\d.]+", path.get("d", ""))]
            assert numbers[1] < numbers[-1]


def test_what_comes_from_another_host_is_found():
    pytest.importorskip("mkdocs")
    loads = script("site_hooks").loads
    outside = """<script src="https://a.example/x.js"> <link rel="stylesheet" href="//b.example/x.css"> <img src='http://c.example/x'>
        @import "https://d.example/x.css"; url(https://e.example/f.woff) <img srcset="https://f.example/y 2x">"""
    assert [re.findall(r"\w(?=\.example)", url)[0] for url in loads(outside)] == list("abcdef")
    inside = """<a href="https://a.example/">there</a> <script src="../x.js"> <link rel="canonical" href="https://b.example/">
        url(data:image/svg+xml) <img src="x.png"> <svg xmlns="http://www.w3.org/2000/svg">"""
    assert list(loads(inside)) == []


@pytest.mark.parametrize(
    ("page", "link", "becomes"),
    [
        ("api.md", "[x](../CHANGELOG.md#a)", "[x](project/CHANGELOG.md#a)"),
        ("migrating/boto3.md", "[x](../../README.md)", "[x](../index.md)"),
        ("migrating/boto3.md", "[x](../api.md)", "[x](../api.md)"),
        ("api.md", "[x](../perf/curve.py)", "x"),
        ("api.md", "[x](https://a.example/)", "[x](https://a.example/)"),
        ("project/CHANGELOG.md", "[x](docs/api.md#b)", "[x](../api.md#b)"),
        ("project/CHANGELOG.md", "[x](Makefile)", "x"),
    ],
)
def test_links_lead_to_pages(page: str, link: str, becomes: str):
    pytest.importorskip("mkdocs")
    shown = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    assert script("site_hooks").on_page_markdown(f"see {link}.", shown) == f"see {becomes}."
