from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.transform.pattern import ColumnPattern
from cdc_pipeline_tests.transform.conftest import unhurried


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("shop.users.email", ("shop", "users", "email")),
        ("Shop.Users.Email", ("shop", "users", "email")),
        ("*.*.email", ("shop", "users", "email")),
        ("shop.user?.*mail*", ("shop", "users", "user_email")),
        ("shop.[uv]sers.email", ("shop", "users", "email")),
        ('types."MixedCase"."Second Key"', ("types", "MixedCase", "Second Key")),
        ('ks.t."a.b""c"', ("ks", "t", 'a.b"c')),
        ("shop.orders.address.street", ("shop", "orders", "address", "street")),
    ],
)
def test_matches(text: str, names: tuple[str, ...]) -> None:
    """Globs, quoted names and four parts match what they speak of."""
    assert ColumnPattern.parse(text).matches(*names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("shop.users.email", ("shop", "users", "email2")),
        ("shop.users.email", ("shop", "users", "email", "part")),
        ("shop.*.street", ("shop", "orders", "address", "street")),
        ("shop.users.*.street", ("shop", "users", "street")),
        ('types."mixedcase".id', ("types", "MixedCase", "id")),
        ('ks.t."*"', ("ks", "t", "email")),
    ],
)
def test_does_not_match(text: str, names: tuple[str, ...]) -> None:
    """A wildcard never crosses a dot, and a quoted part is one exact name."""
    assert not ColumnPattern.parse(text).matches(*names)


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", "a.b.c.d.e", "a..c", ".a.b", "a.b.", 'a.b."c', 'a.b."c"d', "a. .c", 'a.b""']
)
def test_refuses(text: str) -> None:
    """Anything but three or four parts is refused."""
    with pytest.raises(ValueError, match=r"expected keyspace\.table\.column"):
        ColumnPattern.parse(text)


@pytest.mark.parametrize(
    ("text", "wildcards", "literal"),
    [
        ("shop.users.email", 0, "email"),
        ("*.*.*_email", 3, "email"),
        ("*.*.*", 3, ""),
        ("s?op.[ab]c.Email", 2, "email"),
        ('ks.t."*Id"', 0, "*Id"),
    ],
)
def test_specificity(text: str, wildcards: int, literal: str) -> None:
    """Wildcards are counted over all parts, and the literal is what the last part says without them."""
    pattern = ColumnPattern.parse(text)
    assert (pattern.wildcards, pattern.literal) == (wildcards, literal)


_names = st.text(min_size=1).filter(lambda name: name.strip() == name)


@unhurried
@given(_names, _names, _names)
def test_quoted_names_round_trip(keyspace: str, table: str, column: str) -> None:
    """Any three names in quotes match themselves."""
    text = ".".join('"' + name.replace('"', '""') + '"' for name in (keyspace, table, column))
    assert ColumnPattern.parse(text).matches(keyspace, table, column)
