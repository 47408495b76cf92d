"""URIs that went through DLIO. It takes names for paths and makes them absolute: ``s3://b/k`` is ``/cwd/s3:/b/k``."""

from __future__ import annotations

import os
import re

_URI = re.compile(r"(?:^|/)(s3|az|gs|file|direct):/+(.*)$")


def uri_of(name: str) -> str:
    """The URI that ``name`` was; a path is that of a file."""
    found = _URI.search(name)
    if found is None:
        return f"file://{os.path.abspath(name)}"
    scheme, rest = found.groups()
    return f"{scheme}:///{rest}" if scheme in ("file", "direct") else f"{scheme}://{rest}"
