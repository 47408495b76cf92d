"""Random access into generated objects: any piece is what the whole object holds there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from s3dlio.datagen import DataSource

MIB = 1 << 20
sources = st.builds(
    DataSource,
    st.one_of(st.integers(0, 5000), st.integers(MIB - 20, MIB + 20), st.integers(2 * MIB, 3 * MIB)),
    st.integers(0, 4),
    st.integers(0, 7),
    algorithm=st.sampled_from(["random", "prand"]),
    seed=st.integers(0, (1 << 64) - 1),
)


@settings(max_examples=60, deadline=None)
@given(sources, st.integers(0, (1 << 36) - 1), st.data())
def test_pieces_equal_the_whole(source: DataSource, index: int, data: st.DataObject) -> None:
    whole = bytearray(source.size)
    source.fill(whole, index=index, threads=data.draw(st.integers(1, 3)))
    for _ in range(3):
        offset = data.draw(st.integers(0, source.size + 10))
        piece = bytearray(data.draw(st.integers(0, 70_000)))
        written = source.fill(piece, index=index, offset=offset)
        assert written == max(0, min(len(piece), source.size - offset))
        assert piece[:written] == whole[offset : offset + written]
        assert not any(piece[written:])
