"""Fast object and file storage for AI/ML: s3://, az://, gs://, file:// and direct:// behind one API.

Names are imported when they are first used: importing this package loads none of its parts. Which names there are, and
where each of them lives, stands in ``__init__.pyi`` alone, for type checkers, editors and this module alike.
"""

from __future__ import annotations

from s3dlio._version import __version__ as __version__


def _homes() -> dict[str, str]:
    """Every public name with the module that it lives in, as ``__init__.pyi`` says; read once."""
    global _homes_read
    if _homes_read is None:
        import os

        # Asked of the loader, for packages in a zip file; the few forms that it has take no parser.
        text = __loader__.get_data(os.path.join(os.path.dirname(__file__), "__init__.pyi")).decode()
        homes: dict[str, str] = {}
        for statement in text.split("\nfrom ")[1:]:
            home, _, names = statement.partition(" import ")
            for name in names.partition("\n\n")[0].strip("(\n)").split(","):
                if shown := name.rpartition(" as ")[2].strip():
                    homes[shown] = home
        _homes_read = homes  # whole: another thread may look at it
    return _homes_read


_homes_read: dict[str, str] | None = None


def __getattr__(name: str) -> object:
    if name == "__all__":
        return sorted(set(_homes()) - {"torch"})  # a star import neither needs torch nor hides it
    if name.startswith("__"):  # asked for by the interpreter and by tools, of every module
        raise AttributeError(f"module 's3dlio' has no attribute {name!r}")
    import importlib

    home = _homes().get(name)
    if home is None:
        raise AttributeError(f"module 's3dlio' has no attribute {name!r}")
    is_module = home == __name__
    value = importlib.import_module(f"{home}.{name}") if is_module else getattr(importlib.import_module(home), name)
    globals()[name] = value  # from now on found without this function
    return value


def __dir__() -> list[str]:
    return sorted({*_homes(), *(name for name in globals() if name.startswith("__"))})
