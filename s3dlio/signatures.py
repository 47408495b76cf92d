"""Keyword arguments that a function does not have: refused with the name that was probably meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from s3dlio.config.environment import did_you_mean

P = ParamSpec("P")
T = TypeVar("T")


def refuses_unknown(
    kind: type[Exception], subject: str | None = None, hint: str | None = None, more: frozenset[str] = frozenset()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a method refuse unknown keywords with a suggestion; its signature stays as it is.

    Args:
        kind: the error that is raised.
        subject: what the message is about; default: the name of the method.
        hint: follows the message.
        more: keywords that it takes as ``**more``.
    """

    def decorated(method: Callable[P, T]) -> Callable[P, T]:
        code: Any = getattr(method, "__code__")  # noqa: B009 - a Callable need have none
        known = more | frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])

        @functools.wraps(method)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            if not known.issuperset(kwargs):
                name = next(name for name in kwargs if name not in known)
                meant = did_you_mean(name, known) + (f"; {hint}" if hint else "")
                raise kind(f"{subject or method.__name__ + '()'} has no argument '{name}'{meant}")
            return method(*args, **kwargs)

        return checked

    return decorated


def either(name: str, value: Any, alias: str, other: Any) -> Any:
    """The argument that was given, of a parameter that has two names.

    Raises:
        TypeError: neither was, or both.
    """
    if (value is None) == (other is None):
        raise TypeError(f"give either {name} or {alias}")
    return other if value is None else value
