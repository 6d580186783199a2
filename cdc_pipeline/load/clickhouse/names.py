"""Names as ClickHouse writes them, and those of what is ours."""

from __future__ import annotations

import hashlib

from cdc_pipeline.schema import Table

_TAKEN = frozenset({"system", "default", "information_schema", "_temporary_and_external_tables"})

_LONGEST_FILE = 200

_LONGEST = 120
"""Letters of a state table's name; the name of its file may have 255 bytes, with three for each odd letter."""


def quoted(name: str) -> str:
    """An identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def too_long(database: str, table: str) -> str | None:
    """Why a server would not take the name of a view: a file has it, its database's and an id in its name."""
    size = sum(1 if letter.isalnum() or letter == "_" else 3 for letter in database + table)
    if size <= _LONGEST_FILE:
        return None
    return f"a ClickHouse database and table have {_LONGEST_FILE} letters at most between them, its names have {size}"


def database(keyspace: str, prefix: str, state_database: str) -> str:
    """The database that a keyspace becomes, not quoted: its own name, but where that is the server's or ours."""
    name = prefix + keyspace
    return f"ks_{name}" if name.lower() in _TAKEN or name == state_database else name


def state_table(table: Table, part: str = "") -> str:
    """A table of the state, not quoted: each Cassandra table id has its own, for a name may come to mean another."""
    name = table.full_name
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{name}#{table.id.hex[:12]}" + (f":{part}" if part else "")
