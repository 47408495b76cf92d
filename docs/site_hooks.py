"""What mkdocs does beside rendering ``docs/``.

- Pages of ``reference/`` come from the docstrings of the package (``reference.py``), pictures from its code
  (``diagrams.py``).
- Documents beside README.md (changes, how to contribute, ...) are pages of the section Project. Links to other files
  of the repository, which the site does not have, become their text.
- The build fails where a built page would load something from another host.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import diagrams  # noqa: E402 - beside this file
import reference  # noqa: E402

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_OUTWARD = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")
_PICTURE = re.compile(r"<!-- picture: (\w+) -->")
# What a browser fetches by itself; not links, which it follows when they are clicked.
_LOADS = re.compile(
    r"""<(?!a\s)\w[^>]*\s(?:src|srcset|poster|data|action)\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*rel=["']?canonical)[^>]*\shref\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)"""
    r"""|@import\s+(?:url\()?["']?((?:https?:)?//[^"')\s]+)|url\(\s*["']?((?:https?:)?//[^"')\s]+)""",
    re.IGNORECASE,
)


def project_pages() -> dict[str, Path]:
    """The documents beside README.md: the page of each -> its file."""
    return {f"project/{path.name}": path for path in sorted(ROOT.glob("[A-Z]*.md")) if path.name != "README.md"}


def on_config(config: Any) -> Any:
    """Lists the documents beside README.md in the navigation."""
    for section in config.nav:
        if "Project" in section:
            section["Project"] += [{_title(path): page} for page, path in project_pages().items()]
    return config


def _title(path: Path) -> str:
    heading = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return heading[1] if heading else path.stem.capitalize()


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are not files of docs/."""
    pages = {f"reference/{name}.md": text for name, text in reference.pages().items()}
    pages |= {page: path.read_text(encoding="utf-8") for page, path in project_pages().items()}
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links that leave docs/ into links to pages, or into text."""
    source = page.file.src_uri
    folder = "" if source in project_pages() else posixpath.join("docs", posixpath.dirname(source))
    if source in project_pages():
        markdown = re.sub(r"\]\((?!\.\./|[a-z]+:|#)", "](../", markdown)
        folder = "project"
    return _OUTWARD.sub(lambda link: _inward(link, folder, source), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Draws pictures where their marks are."""
    return _PICTURE.sub(lambda mark: f'<div class="pictured">{diagrams.PICTURES[mark[1]]()}</div>', html)


def _inward(link: re.Match[str], folder: str, source: str) -> str:
    text, target, anchor = link[1], posixpath.normpath(posixpath.join(folder, link[2])), link[3] or ""
    if target.startswith("docs/"):
        page = target.removeprefix("docs/")
    elif f"project/{target}" in project_pages():
        page = f"project/{target}"
    elif target == "README.md":
        page = "index.md"
    else:
        return text
    return f"[{text}]({posixpath.relpath(page, posixpath.dirname(source) or '.')}{anchor})"


def loads(text: str) -> Iterator[str]:
    """Everything that a page, a script's style or a style sheet fetches from another host by itself."""
    for match in _LOADS.finditer(text):
        yield next(filter(None, match.groups()))


def on_post_build(config: Any) -> None:
    """Fails where something is loaded from elsewhere."""
    found = [
        f"{path.relative_to(config.site_dir)} loads {url}"
        for path in sorted(Path(config.site_dir).rglob("*"))
        if path.suffix in (".html", ".css", ".svg")
        for url in loads(path.read_text(encoding="utf-8"))
    ]
    if found:
        raise PluginError("\n".join(found))
