"""Records: values with named fields that never change, as frozen dataclasses are.

``dataclasses`` imports ``inspect`` and generates code for every class: a quarter of the time in which a process starts
and reads its first small object. Here all classes share one set of methods. Type checkers take records for dataclasses,
and so does ``dataclasses`` itself (``replace``, ``fields``, ``asdict``), whose fields are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

_MISSING: Any = object()


class Field(NamedTuple):
    """One field: its default, or what makes it; whether repr and comparisons have it; what else is known of it."""

    default: Any = _MISSING
    default_factory: Callable[[], Any] | None = None
    repr: bool = True
    compare: bool = True
    metadata: Any = None


def field(
    *,
    default: Any = _MISSING,
    default_factory: Callable[[], Any] | None = None,
    repr: bool = True,
    compare: bool = True,
    metadata: Any = None,
) -> Any:
    """Declare a field that is not plain; see :class:`Field`."""
    return Field(default, default_factory, repr, compare, metadata)


class _DataclassFields:
    """``__dataclass_fields__``, by which ``dataclasses`` knows its own."""

    def __get__(self, record: Record | None, kind: type[Record]) -> Mapping[str, Any]:
        import dataclasses

        made: Any = dataclasses.make_dataclass(kind.__name__, list(_declarations(kind)), init=False)
        return dict(made.__dataclass_fields__)


def _declarations(kind: type[Record]) -> Iterator[tuple[str, Any, Any]]:
    import dataclasses

    for name, each in kind._fields.items():
        default = dataclasses.MISSING if each.default is _MISSING else each.default
        factory = each.default_factory or dataclasses.MISSING
        options: dict[str, Any] = {"default": default, "default_factory": factory}
        yield name, Any, dataclasses.field(kw_only=True, repr=each.repr, compare=each.compare, **options)


class _Signature:
    """``__signature__``, by which ``help`` and editors know what a record is made of."""

    def __get__(self, record: Record | None, kind: type[Record]) -> Any:
        from inspect import Parameter, Signature, get_annotations

        shown: dict[str, Any] = {}
        for each in reversed(kind.__mro__):
            shown |= get_annotations(each)
        return Signature([
            Parameter(
                name, Parameter.POSITIONAL_OR_KEYWORD, annotation=shown[name],
                default=... if one.default_factory else Parameter.empty if one.default is _MISSING else one.default,
            )
            for name, one in kind._fields.items()
        ])  # fmt: skip


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """The base of all records; a subclass lists its fields as a dataclass does.

    Raises:
        TypeError: an argument that is no field, or a field without a value.
    """

    _fields: ClassVar[dict[str, Field]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}
    _factories: ClassVar[list[tuple[str, Callable[[], Any]]]] = []
    __dataclass_fields__: ClassVar[Any] = _DataclassFields()
    __signature__: ClassVar[Any] = _Signature()

    def __init_subclass__(cls) -> None:
        fields = dict(cls._fields)
        for name, annotation in cls.__annotations__.items():
            if not annotation.startswith("ClassVar"):
                default = cls.__dict__.get(name, _MISSING)
                if default is not _MISSING:
                    delattr(cls, name)
                fields[name] = default if isinstance(default, Field) else Field(default)
        cls._fields = fields
        cls._defaults = {name: each.default for name, each in fields.items() if each.default is not _MISSING}
        cls._factories = [(name, each.default_factory) for name, each in fields.items() if each.default_factory]

    def __init__(self, *values: Any, **named: Any) -> None:
        fields, own = self._fields, self.__dict__
        own.update(self._defaults)
        if values:
            given = dict(zip(fields, values, strict=False))
            if len(values) > len(fields) or not named.keys().isdisjoint(given):
                raise TypeError(f"{type(self).__name__}() got more values than it has fields")
            own.update(given)
        own.update(named)
        for name, make in self._factories:
            if name not in own:
                own[name] = make()
        if len(own) != len(fields) or not fields.keys() >= named.keys():
            odd = sorted(own.keys() ^ fields.keys())
            raise TypeError(f"{type(self).__name__}() misses fields, or knows none of these names: {', '.join(odd)}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the values."""

    def __replace__(self, **changes: Any) -> Any:
        return replace(self, **changes)

    def _compared(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name, each in self._fields.items() if each.compare)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name, each in self._fields.items() if each.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __setattr__(self, name: str, value: Any) -> None:
        raise _frozen(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise _frozen(f"cannot delete field {name!r}")


def _frozen(message: str) -> AttributeError:
    from dataclasses import FrozenInstanceError

    return FrozenInstanceError(message)


AnyRecord = TypeVar("AnyRecord", bound=Record)


def replace(record: AnyRecord, **changes: Any) -> AnyRecord:
    """A copy of a record with other values in some fields.

    Raises:
        TypeError: one of them is no field.
    """
    return type(record)(**{**{name: getattr(record, name) for name in record._fields}, **changes})
