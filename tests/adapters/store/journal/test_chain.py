"""The hash chain and its head: everything in a row is bound, and a torn head leaves the one before."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.store.journal.chain import (
    DEFLATED,
    GENESIS,
    RAW,
    Head,
    HeadFile,
    Link,
    broken,
    link_hash,
    pack,
    row_digest,
    unpack,
)
from quantd.adapters.store.store_errors import StoreDamaged

blobs = st.lists(st.binary(max_size=300), max_size=60)


@given(entries=blobs, times=st.integers(1, 60))
def test_entries_come_out_of_a_blob_as_they_went_in(entries, times):
    packing, blob = pack(entries * times)
    assert unpack(packing, blob) == entries * times


def test_a_blob_is_deflated_only_where_it_pays():
    assert pack([b"same"] * 5000)[0] == DEFLATED
    assert pack([b"same"])[0] == RAW
    assert pack([row_digest(k) for k in range(5000)])[0] == RAW  # noise


@given(st.binary(max_size=60), st.sampled_from([RAW, DEFLATED]))
def test_noise_is_damage_or_a_list_of_bytes_and_never_another_error(noise, packing):
    with suppress(StoreDamaged):
        assert all(isinstance(entry, bytes) for entry in unpack(packing, noise))


def link() -> Link:
    fields = (3, "7f3k2m1a", 11, 20, 10, 99, 1, RAW, b"entries")
    return Link(*fields, GENESIS, link_hash(GENESIS, fields[:-1], fields[-1]))


@pytest.mark.parametrize("name", [f.name for f in msgspec.structs.fields(Link)])
def test_every_column_of_a_row_is_bound_by_its_hash(name):
    true = link()
    assert broken(true, GENESIS, 3) == ""
    value = getattr(true, name)
    other = value + 1 if isinstance(value, int) else value + ("x" if isinstance(value, str) else b"x")
    assert broken(msgspec.structs.replace(true, **{name: other}), GENESIS, 3)


def test_a_row_that_follows_another_one_is_named():
    assert "does not follow" in broken(link(), bytes(31) + b"1", 3)
    assert broken(link(), GENESIS, 2) == "row 2 is missing (next is 3)"


@given(st.lists(st.one_of(st.binary(), st.text(), st.integers(), st.none()), max_size=4))
def test_digests_tell_rows_apart_by_where_their_fields_end(fields):
    assert row_digest(*fields) == row_digest(*fields)
    assert row_digest(*fields, b"") != row_digest(*fields)
    assert row_digest(b"ab", b"c") != row_digest(b"a", b"bc")


heads = st.builds(
    Head,
    st.integers(0, 10**9),
    st.sampled_from(["", "7f3k2m1a"]),
    st.integers(0, 10**9),
    st.binary(min_size=32, max_size=32),
)


@given(first=heads, second=heads, cut=st.integers(0, 256))
def test_a_torn_head_is_the_old_one_or_the_new_one(tmp_path_factory, first, second, cut):
    second = msgspec.structs.replace(second, number=first.number + 1)
    path = tmp_path_factory.mktemp("head") / "journal.head"
    file = HeadFile(path)
    assert file.read() is None
    file.write(first)
    old = path.read_bytes().ljust(512, b"\0")
    file.write(second)
    new = path.read_bytes()
    assert HeadFile(path).read() == second
    path.write_bytes(old[:256] + new[256 : 256 + cut] + old[256 + cut :])
    again = HeadFile(path)
    assert again.read() in (first, second)
    third = msgspec.structs.replace(second, number=first.number + 2)
    again.write(third)  # into the torn slot, not over the whole one
    assert HeadFile(path).read() == third


def test_a_head_of_noise_is_damage(tmp_path):
    path = tmp_path / "journal.head"
    path.write_bytes(b"x" * 512)
    with pytest.raises(StoreDamaged, match="cannot be read"):
        HeadFile(path).read()
