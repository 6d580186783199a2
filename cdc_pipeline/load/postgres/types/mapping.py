"""The type table, as data: from CQL to PostgreSQL, profile `native` and `exact` (`types.md`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cdc_pipeline.load.postgres.types import at_once, scalars

Encode = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class ScalarType:
    """A PostgreSQL scalar: its SQL name, oid, encoder into a binary field, and its tie expression.

    `tie` makes of the stored value `{}` bytes that sort like Cassandra's serialized ones, which decide between two
    writes of one microsecond; None: the bytes are kept beside the value. `at_once` encodes a whole column,
    where nothing in it needs a look of its own.
    """

    sql: str
    oid: int
    encode: Encode
    tie: str | None
    at_once: at_once.AtOnce | None = None

    @property
    def holds_empty(self) -> bool:
        """Whether zero bytes are a value of it; of all others they are NULL."""
        return self.encode in (scalars.text, scalars.bytea)


_TEXT_TIE = "convert_to({}, 'UTF8')"
TEXT = ScalarType("text", 25, scalars.text, _TEXT_TIE, at_once.text)
BYTEA = ScalarType("bytea", 17, scalars.bytea, "{}", at_once.anything)
UUID = ScalarType("uuid", 2950, scalars.same16, "uuid_send({})", at_once.same(16))
_BIGINT = ScalarType("bigint", 20, scalars.same8, "int8send({})", at_once.same(8))

NATIVE: dict[str, ScalarType] = {
    "ascii": TEXT,
    "text": TEXT,
    "blob": BYTEA,
    "boolean": ScalarType("boolean", 16, scalars.boolean, "boolsend({})", at_once.numbers("i1", at_once.boolean)),
    "tinyint": ScalarType(
        "smallint", 21, scalars.smallint_of_tinyint, "int2send({})", at_once.numbers("i1", at_once.widened)
    ),
    "smallint": ScalarType("smallint", 21, scalars.same2, "int2send({})", at_once.same(2)),
    "int": ScalarType("integer", 23, scalars.same4, "int4send({})", at_once.same(4)),
    "bigint": _BIGINT,
    "counter": _BIGINT,
    "varint": ScalarType("numeric", 1700, scalars.varint, None),
    "decimal": ScalarType("numeric", 1700, scalars.decimal, None),
    "float": ScalarType("real", 700, scalars.same4, "float4send({})", at_once.same(4)),
    "double": ScalarType("double precision", 701, scalars.same8, "float8send({})", at_once.same(8)),
    "timestamp": ScalarType(
        "timestamp with time zone",
        1184,
        scalars.timestamptz,
        "int8send((extract(epoch from {}) * 1000)::int8)",
        at_once.numbers(">i8", at_once.timestamptz),
    ),
    "date": ScalarType(
        "date",
        1082,
        scalars.date,
        "int8send(({} - date '2000-01-01')::int8 + 4294967296)",
        at_once.numbers(">u4", at_once.date),
    ),
    "time": ScalarType(
        "time without time zone", 1083, scalars.time, "time_send({})", at_once.numbers(">i8", at_once.time)
    ),
    "duration": ScalarType("interval", 1186, scalars.interval, None),
    "uuid": UUID,
    "timeuuid": UUID,
    "inet": ScalarType("inet", 869, scalars.inet, "substring(inet_send({}) from 5)"),
}

EXACT: dict[str, ScalarType] = NATIVE | {
    "varint": ScalarType("text", 25, scalars.varint_exact, None),
    "decimal": ScalarType("text", 25, scalars.decimal_exact, None),
    "timestamp": ScalarType("bigint", 20, scalars.same8, "int8send({})", at_once.same(8)),
    "date": ScalarType(
        "integer", 23, scalars.date_exact, "int8send({}::int8 + 4294967296)", at_once.numbers(">u4", at_once.date_exact)
    ),
    "time": ScalarType("bigint", 20, scalars.same8, "int8send({})", at_once.same(8)),
    "duration": ScalarType("text", 25, scalars.duration_exact, None),
}

PROFILES = {"native": NATIVE, "exact": EXACT}

KEY_IS_EXACT = frozenset(
    {"ascii", "text", "blob", "boolean", "tinyint", "smallint", "int", "bigint", "timestamp", "date", "time"}
    | {"uuid", "timeuuid", "inet"}
)
"""CQL types whose PostgreSQL value is equal exactly when Cassandra's bytes are: their column can be a key itself."""
