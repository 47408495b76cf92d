"""The reference pages of the site, from the docstrings and signatures of all public names.

The names come from ``s3dlio/__init__.pyi``, their objects from the package itself: functions that are made when a
module is imported, such as the coroutines, are seen as users see them.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from typing import Any

#: Each page: its title, and the modules whose names it has (with all below them). The first that fits has a name.
PAGES = {
    "coroutines": ("Coroutines", ("aio",)),
    "functions": ("Functions", ("api", "api_formats", "uri_templates")),
    "client": ("Client", ("client",)),
    "older": ("Older names", ("compat", "checkpoint.legacy")),
    "checkpoints": ("Checkpoints and tensors", ("checkpoint",)),
    "loaders": ("Data sets and loaders", ("loader", "jax_tf")),
    "writers": ("Writers and views", ("streams", "memory")),
    "endpoints": ("Several endpoints", ("multi_endpoint",)),
    "formats": ("Formats and generated data", ("formats", "datagen")),
    "oplogs": ("Op-logs", ("oplog",)),
    "errors": ("Errors", ("errors",)),
    "types": ("Types and settings", ("",)),
}
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):\s*$", re.MULTILINE)
_ITEM = re.compile(r"^(\*{0,2}\w[\w, *.]*?): ?", re.MULTILINE)
_WIDTH = 88


def pages() -> dict[str, str]:
    """The Markdown of every page, by its name."""
    import s3dlio

    chapters: dict[str, list[str]] = {page: [] for page in PAGES}
    for name, home in sorted(s3dlio._homes().items(), key=lambda item: item[0].lower()):
        if not name.startswith("_") and home != "s3dlio":
            page = _page_of(home.removeprefix("s3dlio.").removeprefix("s3dlio"))
            value = getattr(s3dlio, name, None)
            own = getattr(value, "__name__", name)
            if own != name and getattr(s3dlio, own, None) is value:
                chapters[page] += [f"## s3dlio.{name}", "", f"Another name of `s3dlio.{own}`.", ""]
            else:
                chapters[page] += _entry(name, value)
    return {page: "\n".join([f"# {PAGES[page][0]}", "", *lines]) for page, lines in chapters.items()}


def _page_of(home: str) -> str:
    return next(
        page
        for page, (_, homes) in PAGES.items()
        if any(not one or home == one or home.startswith(one + ".") for one in homes)
    )


def _entry(name: str, value: Any) -> Iterator[str]:
    yield from (f"## s3dlio.{name}", "")
    if inspect.isclass(value):
        if not issubclass(value, BaseException):
            yield from _code(name, value)
        else:
            bases = [base.__name__ for base in value.__mro__[1:-3] if not base.__name__.startswith("_")]
            yield from (f"An error; also {', '.join(f'`{base}`' for base in bases)}.", "") if bases else ()
        yield from described(value.__doc__)
        if not issubclass(value, BaseException):
            yield from _members(value)
    elif callable(value):
        yield from _code(name, value, "async def " if inspect.iscoroutinefunction(value) else "def ")
        yield from described(value.__doc__)
    else:
        yield from described(getattr(value, "__doc__", None) if isinstance(value, types.ModuleType) else None)


def _members(cls: type) -> Iterator[str]:
    for name, member in inspect.getmembers(cls):
        plain = inspect.getattr_static(cls, name)
        if name.startswith("_") or not _ours(cls, name):
            continue
        if isinstance(plain, property):
            yield from (f"### {name}", "")
            yield from described(plain.__doc__)
        elif inspect.isroutine(member):
            yield from (f"### {name}()", "")
            yield from _code(name, member, "async def " if inspect.iscoroutinefunction(member) else "def ")
            yield from described(member.__doc__)


def _ours(cls: type, name: str) -> bool:
    owner = next((one for one in cls.__mro__ if name in vars(one)), object)
    return owner.__module__.startswith("s3dlio")


def _code(name: str, value: Any, word: str = "class ") -> Iterator[str]:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return
    parts = [_parameter(one) for one in _with_marks(signature) if one not in ("self", "cls")]
    annotation = signature.return_annotation
    end = "" if word == "class " or annotation is signature.empty else f" -> {_text(annotation)}"
    line = f"{word}{name}({', '.join(parts)}){end}"
    if len(line) > _WIDTH:
        line = f"{word}{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"
    yield from ("```python", line, "```", "")


def _with_marks(signature: inspect.Signature) -> Iterator[Any]:
    keywords = False
    for one in signature.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not keywords:
            yield "*"
        keywords = keywords or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        yield one


def _parameter(one: Any) -> str:
    if isinstance(one, str):
        return one
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    text = f"{stars}{one.name}" + ("" if one.annotation is one.empty else f": {_text(one.annotation)}")
    if one.default is one.empty:
        return text
    default = repr(one.default)
    if len(default) > 40 or " at 0x" in default or default.startswith("<"):
        default = "..."
    return f"{text} = {default}"


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def described(docstring: str | None) -> Iterator[str]:
    """A docstring as Markdown: its text, then what its sections say, as lists."""
    text, *sections = _SECTION.split(inspect.cleandoc(docstring or ""))
    yield from (_prose(text.strip()), "")
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        body, rest = _own(body)
        yield from ({"Args": "**Parameters**", "Raises": "**Raises**"}.get(title, f"**{title}**"), "")
        items = _items(body)
        yield from (f"- `{name}`: {_prose(what)}" for name, what in items) if items else (_prose(body),)
        yield ""
        if rest:
            yield from (_prose(rest), "")


def _own(body: str) -> tuple[str, str]:
    """What belongs to a section, without its indentation, and what comes behind it."""
    lines = body.strip("\n").split("\n")
    end = next((number for number, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    return inspect.cleandoc("\n".join(lines[:end])), "\n".join(lines[end:]).strip()


def _items(body: str) -> list[tuple[str, str]]:
    if not _ITEM.match(body):
        return []
    _, *parts = _ITEM.split(body)
    return [(name, " ".join(what.split())) for name, what in zip(parts[::2], parts[1::2], strict=True)]


def _prose(text: str) -> str:
    """Roles of Sphinx become code; an example that is indented behind two colons is left as it is."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)
