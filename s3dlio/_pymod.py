"""The names of the package, under that of the Rust package's extension module, which some scripts import."""

from typing import Any

import s3dlio


def __getattr__(name: str) -> Any:
    return getattr(s3dlio, name)


def __dir__() -> list[str]:
    return dir(s3dlio)
