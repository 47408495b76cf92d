"""Keyword arguments: older names that are taken, and unknown ones, refused with the name that was probably meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from s3dlio.config.environment import did_you_mean

P = ParamSpec("P")
T = TypeVar("T")


def refuses_unknown(
    kind: type[Exception], subject: str | None = None, hint: str | None = None, more: Any = None
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a method refuse unknown keywords with a suggestion; its signature stays as it is.

    Args:
        kind: the error that is raised.
        subject: what the message is about; default: the name of the method.
        hint: follows the message.
        more: the ``TypedDict`` of the keywords that it takes as ``**more``; its signature tells them one by one.
    """

    def decorated(method: Callable[P, T]) -> Callable[P, T]:
        code: Any = getattr(method, "__code__")  # noqa: B009 - a Callable need have none
        known = frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        known |= more.__optional_keys__ if more else frozenset()

        @functools.wraps(method)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            if not known.issuperset(kwargs):
                name = next(name for name in kwargs if name not in known)
                meant = did_you_mean(name, known) + (f"; {hint}" if hint else "")
                raise kind(f"{subject or method.__name__ + '()'} has no argument '{name}'{meant}")
            return method(*args, **kwargs)

        if more:
            checked.__dict__["__wrapped__"] = _Spelled(method, more)
        return checked

    return decorated


def also_named(**older: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function take arguments by older names, too: ``also_named(bucket_name="name")``. Its signature tells the
    newer ones only."""

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in [name for name in kwargs if name in older]:
                if older[name] in kwargs:
                    raise TypeError(f"{function.__name__}() got {older[name]!r} twice: {name!r} is an older name of it")
                kwargs[older[name]] = kwargs.pop(name)
            return function(*args, **kwargs)

        return called

    return decorated


class _Spelled:
    """Tells a signature with its shared keywords one by one, when ``inspect`` asks: few do, and its import takes time.

    One that is not given is None, or False, or nothing, by its type.
    """

    def __init__(self, function: Callable[..., Any], more: Any) -> None:
        self._function = function
        self._more = more
        self.__globals__ = getattr(function, "__globals__", {})  # where ``typing.get_type_hints`` looks names up

    @property
    def __signature__(self) -> Any:
        import inspect

        signature = inspect.signature(self._function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_absent(kind), annotation=kind)
            for name, kind in ((name, each.__forward_arg__) for name, each in self._more.__annotations__.items())
        ]
        return signature.replace(parameters=[*own, *shared])


def _absent(kind: str) -> Any:
    if kind.endswith("None"):
        return None
    return False if kind == "bool" else ()


def either(name: str, value: Any, alias: str, other: Any) -> Any:
    """The argument that was given, of a parameter that has two names.

    Raises:
        TypeError: neither was, or both.
    """
    if (value is None) == (other is None):
        raise TypeError(f"give either {name} or {alias}")
    return other if value is None else value
