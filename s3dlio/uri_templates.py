"""Several URIs written as one text: ranges in braces, lists, and the same object under another prefix. No I/O."""

from __future__ import annotations

import itertools
import math
import re

from s3dlio.errors import ConfigError, InvalidURIError
from s3dlio.uri import SCHEMES, as_uri

_RANGE = re.compile(r"\{([0-9]{1,18})\.\.\.([0-9]{1,18})\}")
_MOST = 1_000_000


def expand_uri_template(template: str) -> list[str]:
    """The URIs that a template stands for: ``s3://bucket-{1...10}/data`` gives ten.

    Both ends of a range are included, several ranges give every combination, the last one running fastest. Numbers are
    as wide as an end of their range that has leading zeros: ``{01...10}`` gives 01 to 10. A text without ranges stands
    for itself.

    Raises:
        ConfigError: a range runs backwards, or there are more than a million URIs.
        InvalidURIError: it has no scheme.
    """
    return same_scheme(expand_template(template), template)


def expand_template(template: str) -> list[str]:
    """As :func:`expand_uri_template`, of any text."""
    parts = _RANGE.split(template)  # text, first, last, text, first, last, ..., text
    ends = [*zip(parts[1::3], parts[2::3], strict=True)]
    ranges = [range(int(first), int(last) + 1) for first, last in ends]
    if backwards := [f"start ({first}) > end ({last})" for first, last in ends if int(first) > int(last)]:
        raise ConfigError(
            f"Invalid range: {backwards[0]}",
            hint=f"a range of {template!r} runs backwards: write {{first...last}}, the smaller one first",
        )
    if math.prod(map(len, ranges)) > _MOST:
        raise ConfigError(f"{template!r} stands for more than {_MOST} URIs")
    texts = parts[::3]
    widths = [max(len(end) if end.startswith("0") else 1 for end in both) for both in ends]
    written = [[f"{number:0{width}}" for number in numbers] for numbers, width in zip(ranges, widths, strict=True)]
    return [
        "".join(itertools.chain(*zip(texts, chosen, strict=False), texts[-1:]))
        for chosen in itertools.product(*written)
    ]


def parse_uri_list(text: str) -> list[str]:
    """The URIs of a list with commas.

    Raises:
        InvalidURIError: there is none, one has no scheme, or their schemes differ.
    """
    return same_scheme([uri for part in text.split(",") if (uri := part.strip())], "the list of URIs")


def lines_of_uris(text: str, name: str) -> list[str]:
    """The URIs of a file, one a line; lines that begin with ``#`` and empty ones do not count. Errors as of
    :func:`parse_uri_list`."""
    lines = [line.strip() for line in text.splitlines()]
    return same_scheme([line for line in lines if line and not line.startswith("#")], name)


def same_scheme(uris: list[str], name: str) -> list[str]:
    """``uris``, all of one scheme.

    Raises:
        InvalidURIError: there is none, one has no scheme, or their schemes differ; ``name`` says of what.
    """
    schemes = {SCHEMES.get(head.lower(), head) if mark else None for head, mark, _ in map(_split, uris)}
    if not uris:
        raise InvalidURIError(f"no URIs in {name}")
    if None in schemes:
        raise InvalidURIError(f"a URI of {name} has no scheme", hint="write scheme://..., such as s3://bucket/")
    if len(schemes) > 1:
        raise InvalidURIError(f"the URIs of {name} have several schemes: {', '.join(sorted(map(str, schemes)))}")
    return uris


def _split(uri: str) -> tuple[str, str, str]:
    return uri.partition("://")


def translate_uri(file: str, endpoint: str, target: str) -> str:
    """The name of the same object under another prefix: ``("file:///tmp/d/x", "file:///tmp/", "s3://b/t/")`` gives
    ``s3://b/t/d/x``. A name outside ``endpoint`` is put under ``target`` as it stands."""
    relative = as_uri(file).removeprefix(endpoint).lstrip("/")
    return f"{target.rstrip('/')}/{relative}"
