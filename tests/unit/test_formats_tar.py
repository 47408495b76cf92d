"""Tar archives: the same members as the standard library finds, and never fewer."""

from __future__ import annotations

import contextlib
import io
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3dlio.errors import CorruptDataError, UnsupportedOperationError
from s3dlio.formats.tar import decode_tar_sample, iter_tar, scan_tar, split_name, tar_members, tar_samples
from s3dlio.formats.tar_index import TarIndex, parse_tar_index

_FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def archive(files: list[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT, mtime: float = 0) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format) as tar:
        for name, data in files:
            about = tarfile.TarInfo(name)
            about.size, about.mtime = len(data), mtime  # type: ignore[assignment]
            tar.addfile(about, io.BytesIO(data))
    return made.getvalue()


_names = st.text(st.characters(blacklist_characters="\0\r\n", blacklist_categories=("Cs",)), min_size=1, max_size=120)


@given(
    st.lists(st.tuples(_names.filter(lambda name: not name.endswith("/")), st.binary(max_size=1200)), max_size=6),
    st.sampled_from(_FORMATS[1:]),
    st.sampled_from([0, 1.25]),
)
@settings(max_examples=60, deadline=None)
def test_the_members_are_those_of_the_standard_library(
    files: list[tuple[str, bytes]], format: int, mtime: float
) -> None:
    data = archive(files, format, mtime)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(about.name, about.offset_data, about.size) for about in tar]
    assert tar_members(data) == expected
    index = TarIndex(tar_members(data))
    again = parse_tar_index(index.to_text())
    assert list(again) == list(index)
    assert again.end == index.end
    for name, offset, size in {member[0]: member for member in expected}.values():
        place = again.find(name)
        assert place is not None
        assert (place.offset, place.size) == (offset, size)
        assert tar_members(data[place.start : offset + size], whole=False)[-1].name == name


def test_what_is_no_file_is_left_out() -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE)):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, "x/y.txt"
            tar.addfile(about)
        about = tarfile.TarInfo("p" * 90 + "/" + "n" * 90 + ".txt")  # name and prefix
        about.size = 3
        tar.addfile(about, io.BytesIO(b"abc"))
    assert [(name, bytes(data)) for name, data in iter_tar(made.getvalue())] == [(about.name, b"abc")]


def test_sizes_beyond_eight_gigabytes_are_read() -> None:
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        about = tarfile.TarInfo("huge.bin")
        about.size = (9 << 30) + 1
        header = about.tobuf(format)
        scan = scan_tar(1 << 40)
        wanted = next(scan)
        while sum(wanted) <= len(header):
            wanted = scan.send(header[wanted[0] : sum(wanted)])
        assert wanted == (len(header) + (9 << 30) + 512, 512)


def test_an_archive_is_whole_or_an_error() -> None:
    data = archive([("a.txt", b"x" * 700), ("n" * 150, b"y"), ("b.txt", b"")], tarfile.PAX_FORMAT, 1.5)
    end = TarIndex(tar_members(data)).end
    for cut in [*range(0, end + 511, 97), *range(0, end, 512)]:
        with pytest.raises(CorruptDataError):
            tar_members(data[:cut])
    assert len(tar_members(data[: end + 512])) == 3


def test_no_flipped_bit_of_a_header_makes_another_archive() -> None:
    data = archive([("a.txt", b"x" * 700), ("b.txt", b"zz")], tarfile.USTAR_FORMAT)
    expected, chance = tar_members(data), random.Random(3)
    headers = [0, 1536]
    for _ in range(300):
        damaged = bytearray(data)
        damaged[chance.choice(headers) + chance.randrange(512)] ^= 1 << chance.randrange(8)
        try:
            found = tar_members(damaged)
        except CorruptDataError:
            continue
        assert found == expected


@pytest.mark.parametrize("foreign", [b"", b"PK\3\4" + bytes(2000), b"\x1f\x8b" * 600, b"x" * 511, b"text " * 500])
def test_other_files_are_no_archives(foreign: bytes) -> None:
    with pytest.raises(CorruptDataError):
        tar_members(foreign)


def test_random_bytes_raise_nothing_else() -> None:
    chance = random.Random(4)
    good = bytearray(archive([("n" * 150, b"y" * 600), ("b.txt", b"")], tarfile.PAX_FORMAT, 1.5))
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(good))] = chance.randrange(256)
        with contextlib.suppress(CorruptDataError, UnsupportedOperationError):
            tar_members(damaged)


def test_samples_are_webdatasets() -> None:
    names = [
        "README", "a/000.JPG", "a/000.seg.png", "a/000.cls", "__meta__", "b/000.jpg", ".hidden", "c/v1.2/001.json",
        "c/v1.2/001.txt",
    ]  # fmt: skip
    data = archive([(name, name.encode() * 100) for name in names], tarfile.PAX_FORMAT, 0.5)
    samples = list(tar_samples(tar_members(data)))
    assert [sample.key for sample in samples] == ["a/000", "b/000", "c/v1.2/001"]
    decoded = [decode_tar_sample(data[sample.start : sample.end]) for sample in samples]
    assert [list(sample) for sample in decoded] == [
        ["__key__", "jpg", "seg.png", "cls"], ["__key__", "jpg"], ["__key__", "json", "txt"]
    ]  # fmt: skip
    assert decoded[0]["seg.png"] == b"a/000.seg.png" * 100
    with pytest.raises(CorruptDataError, match="two files"):
        decode_tar_sample(data[: samples[0].end - 900] + data[samples[0].start : samples[0].end])
    for wrong in (data[: samples[1].end], data[samples[0].start : samples[0].end - 1], b""):
        with pytest.raises(CorruptDataError):
            decode_tar_sample(wrong)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("a.b/c.d.e", ("a.b/c", "d.e")),
        ("x.", ("x", "")),
        (".x", None),
        ("d/.x", ("d/", "x")),
        ("x", None),
        ("a.B", ("a", "b")),
    ],
)
def test_names_are_split_at_the_first_dot_of_their_last_part(name: str, split: tuple[str, str] | None) -> None:
    assert split_name(name) == split


def test_the_index_is_dalis() -> None:
    data = archive([("0.jpg", b"a" * 600), ("0.Cls", b"7"), ("1.jpg", b"b"), ("LICENSE", b"")], tarfile.USTAR_FORMAT)
    text = "v1.2 3\njpg 512 600 0.jpg Cls 2048 1 0.Cls\njpg 3072 1 1.jpg\n- 4096 0 LICENSE\n"
    assert TarIndex(tar_members(data)).to_text() == text
    assert list(parse_tar_index(text)) == tar_members(data)


@pytest.mark.parametrize(
    "text",
    ["", "v1.1 1\njpg 512 600\n", "v1.2 2\njpg 512 600 a.jpg\n", "v1.2 1\njpg 512 600\n", "v1.2 1\njpg x 600 a.jpg\n",
     "v1.2 1\njpg 100 6 a.jpg\n", "v1.2 1\njpg 1024 600 a.jpg cls 512 1 a.cls\n", "0 116\n116 116\n"],
)  # fmt: skip
def test_what_is_no_index_is_refused(text: str) -> None:
    with pytest.raises(CorruptDataError):
        parse_tar_index(text)
