"""Records are to their users what frozen dataclasses are."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import s3dlio
from s3dlio.records import Record, field, replace


class Point(Record):
    x: int
    y: int = 0
    label: str = field(default="", repr=False, compare=False)
    more: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x")


def test_values_by_place_and_by_name() -> None:
    point = Point(1, label="a")
    assert (point.x, point.y, point.label, point.more) == (1, 0, "a", {})
    assert point.more is not Point(1).more
    assert repr(point) == "Point(x=1, y=0, more={})"


def test_equal_where_all_that_is_compared_is() -> None:
    assert Point(1, 2, "a") == Point(1, 2, "b") != Point(1, 3)
    assert Point(1) != (1, 0)


def test_replace_copy_and_pickle() -> None:
    point = Point(1, 2, "a", {"k": 1})
    assert replace(point, x=5) == Point(5, 2, more={"k": 1})
    assert dataclasses.replace(point, x=5).label == "a"
    assert point.__replace__(x=5) == replace(point, x=5)  # copy.replace of Python 3.13
    for same in (copy.copy(point), pickle.loads(pickle.dumps(point))):
        assert same == point
        assert same.label == "a"
    with pytest.raises(ValueError, match="x"):
        replace(point, x=-1)


def test_dataclasses_takes_it_for_its_own() -> None:
    assert [each.name for each in dataclasses.fields(Point)] == ["x", "y", "label", "more"]
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 0, "label": "", "more": {}}


def test_help_shows_its_fields() -> None:
    assert str(inspect.signature(Point)) == (
        "(x: 'int', y: 'int' = 0, label: 'str' = '', more: 'Mapping[str, int]' = Ellipsis)"
    )
    assert [*inspect.signature(s3dlio.PutOptions).parameters] == [*s3dlio.PutOptions._fields]


def test_nothing_changes_one() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x


@pytest.mark.parametrize(
    "make",
    [lambda: Point(), lambda: Point(1, z=2), lambda: Point(z=2), lambda: Point(1, x=1), lambda: Point(*range(9))],
)
def test_values_must_fit_the_fields(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"Point\(\)"):
        make()
