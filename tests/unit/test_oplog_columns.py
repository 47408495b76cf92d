"""The names of columns in op-logs of other programs."""

from __future__ import annotations

import pytest

from s3dlio import errors
from s3dlio.oplog import columns, forms


def test_the_log_that_is_written_here_is_a_dialect() -> None:
    for dialect, form in (("s3dlio", forms.TsvForm), ("warp", forms.WarpForm)):
        assert form.header == "\t".join(columns.DIALECTS[dialect]) + "\n"
        assert columns.match(form.header.split()).dialect == dialect


@pytest.mark.parametrize("dialect", columns.DIALECTS)
def test_every_column_of_a_dialect_is_known(dialect: str) -> None:
    names = columns.DIALECTS[dialect]
    found = columns.match(names)
    assert found.dialect == dialect
    assert found.unknown == ()
    assert [found.places[name] for name in names] == list(range(len(names)))


@pytest.mark.parametrize(
    ("name", "column", "scale"),
    [
        ("operation", "op", 1), ("OP", "op", 1), ("t_start_ns", "start", 1), ("start_us", "start", 1_000),
        ("End Time", "end", 1), ("duration", "duration_ns", 1), ("duration_ms", "duration_ns", 1_000_000),
        ("latency_s", "duration_ns", 1_000_000_000), ("uri", "file", 1), ("thread_id", "thread", 1),
        ("last_byte", "last_byte", 1), ("bytes", "bytes", 1),
    ],
)  # fmt: skip
def test_aliases_and_units(name: str, column: str, scale: int) -> None:
    found = columns.known(name)
    assert found is not None
    assert (found[0].name, found[1]) == (column, scale)


def test_no_alias_means_two_columns() -> None:
    names = [name for column in columns.COLUMNS for name in (column.name, *column.aliases)]
    assert len(names) == len(set(names))


def test_a_name_of_ours_ranks_above_an_alias() -> None:
    found = columns.match(["operation", "size", "bytes", "op", "start", "colour", "t_start"])
    assert (found.places["op"], found.places["bytes"], found.places["start"]) == (3, 2, 4)
    assert set(found.unknown) == {"operation", "size", "colour", "t_start"}


@pytest.mark.parametrize(("names", "missing"), [(["a", "b"], "op"), (["op", "file", "end"], "start")])
def test_what_is_no_op_log(names: list[str], missing: str) -> None:
    with pytest.raises(errors.CorruptDataError, match=f"no column '{missing}'"):
        columns.match(names)


def test_a_log_without_start_times_has_them_by_ends_and_durations() -> None:
    assert columns.match(["op", "end", "duration_ns"]).places == {"op": 0, "end": 1, "duration_ns": 2}


def test_operations_have_one_name() -> None:
    assert [columns.operation(name) for name in ("stat", "HEAD", "Get", "READ", "COPY")] == [
        "HEAD", "HEAD", "GET", "GET", "COPY",
    ]  # fmt: skip
