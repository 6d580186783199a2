"""Names in PostgreSQL: quoted, letter by letter Cassandra's, at most 63 bytes, shortened the same way every time."""

from __future__ import annotations

import hashlib

STATE_SCHEMA = "cdc"
"""The schema of the pipeline's own tables."""

_LIMIT = 63
_HASH_LENGTH = 10
_RESERVED = frozenset({"cdc", "system", "default", "information_schema"})


def fitted(name: str, room: int = _LIMIT) -> str:
    """The name itself, or its beginning and a hash of all of it when it has more than `room` UTF-8 bytes."""
    raw = name.encode()
    if len(raw) <= room:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:_HASH_LENGTH]
    return raw[: room - _HASH_LENGTH - 1].decode("utf-8", "ignore") + "~" + digest


def quoted(name: str) -> str:
    """A quoted identifier. PostgreSQL cannot hold U+0000 in one; Cassandra's names have none."""
    return '"' + fitted(name).replace('"', '""') + '"'


def literal(text: str) -> str:
    """A quoted string."""
    return "'" + text.replace("'", "''") + "'"


def schema_name(keyspace: str) -> str:
    """The schema of a keyspace: its own name, prefixed with `ks_` where PostgreSQL or the pipeline owns that one.

    So is a keyspace that has such a prefix by itself: `cdc` is `ks_cdc`, `ks_cdc` is `ks_ks_cdc`, and no two are one.
    """
    bare = keyspace
    while bare.startswith("ks_"):
        bare = bare.removeprefix("ks_")
    return f"ks_{keyspace}" if bare in _RESERVED or bare.startswith("pg_") else keyspace


def state_table(keyspace: str, table: str, part: str = "", generation: int = 1) -> str:
    """A state table, qualified and quoted; `part` names one beside the rows (`static`, `ranges`).

    A table that was dropped and made again is another: each further one of a name has its number.
    """
    again = f"#{generation}" if generation > 1 else ""
    suffix = again + (f":{part}" if part else "")
    return f"{STATE_SCHEMA}.{quoted(fitted(f'{keyspace}.{table}', _LIMIT - 8 - len(again)) + suffix)}"


def column(prefix: str, name: str) -> str:
    """A quoted column of a state table: `v` value, `w` writetime, `x` expiry, `b` bytes, `d` deletion."""
    return quoted(f"{prefix}:{fitted(name, _LIMIT - 1 - len(prefix))}")


def key_column(place: str, kind: str = "k") -> str:
    """A quoted key column by its place in the key (`p0`, `c1`), because a key column may be renamed; `b`: its bytes."""
    return quoted(f"{kind}:{place}")
