"""The hash chain and its head: everything in a row is bound, and a torn head leaves the one before."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.store.journal.chain import (
    GENESIS,
    RAW,
    Head,
    HeadFile,
    Link,
    broken,
    link_hash,
)
from quantd.adapters.store.store_errors import StoreDamaged


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
