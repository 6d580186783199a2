"""One tree of errors; the class says what the pipeline does about it.

CdcError
├── ConfigurationError        stop: wrong usage, settings, rules or keys (exit 2)
├── SchemaError               a table or column is not known here (exit 2)
├── LogGone                   what a lane has yet to read was removed: it stops before it leaves a gap (exit 1)
├── SegmentError              bytes on disk are not what they should be; always with segment and offset (exit 1)
│   ├── HeaderError           the file is given up
│   ├── UnsupportedVersion    the file is refused, never deleted
│   ├── MarkerError           the rest of the segment is given up
│   │   └── MarkerUnfinished  on a live segment: its bytes have not arrived yet
│   ├── SectionError          one section is given up
│   ├── EntryError            one entry is given up
│   └── CdcIndexError         the index holds no offset
├── RowError                  one row change goes to the dead letters
│   ├── ValueOutOfRange       the destination's type cannot hold it
│   ├── MaskingFailed         it could not be masked, so it is not loaded
│   └── OrderLostByMask       a range over a masked column has no order
└── SinkError                 a destination
    ├── TransientSinkError    retried with backoff, never parked
    ├── LaneLost              another writer took the lane: a clean hand-over
    ├── OffsetConflict        the destination went back: a run without a copy goes on from there, one with a copy stops
    └── PermanentSinkError    stops the lane
        └── RowsRefused       the rows at fault are found and parked, the others go on

A message says where, what was expected and what was found, and never holds a value of a row.
"""

from __future__ import annotations


class CdcError(Exception):
    """The root; `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigurationError(CdcError):
    """Settings, rules or keys that cannot be used: `where` names the file, `key` the place in it."""

    exit_code = 2

    def __init__(self, message: str, *, where: str | None = None, key: str | None = None) -> None:
        parts = [part for part in (where, key) if part]
        super().__init__(": ".join([*parts, message]))
        self.where = where
        self.key = key


class SchemaError(CdcError):
    """A schema that lacks what the data needs."""

    exit_code = 2


class LogGone(CdcError):
    """The log no longer holds what a lane has yet to read."""


class SegmentError(CdcError):
    """Damage at a place of a segment: `segment` (file name), `offset` (bytes into the file), `expected`, `found`."""

    def __init__(self, segment: str, offset: int, what: str, *, expected: object = None, found: object = None) -> None:
        detail = f" expected {expected}, found {found}" if expected is not None else ""
        super().__init__(f"segment {segment}, offset {offset}: {what}{detail}")
        self.segment = segment
        self.offset = offset
        self.what = what
        self.expected = expected
        self.found = found


class HeaderError(SegmentError):
    """The segment header cannot be read."""


class UnsupportedVersion(SegmentError):
    """A segment version this decoder does not know."""


class MarkerError(SegmentError):
    """A sync marker is damaged or points outside of the file."""


class MarkerUnfinished(MarkerError):
    """A sync marker without its CRC, or that points beyond what is there: being written, or the tail of a crash."""


class SectionError(SegmentError):
    """A section cannot be decompressed or decrypted."""


class EntryError(SegmentError):
    """An entry fails its CRC, runs past its section or cannot be decoded."""


class CdcIndexError(SegmentError):
    """A `_cdc.idx` file without an offset."""


class RowError(CdcError):
    """One row change that cannot go on; `reason` is a `FailureReason` value."""

    reason = "UNKNOWN"


class ValueOutOfRange(RowError):
    """The destination's type cannot hold a value exactly."""

    reason = "VALUE_OUT_OF_RANGE"

    def __init__(self, column: str, cql_type: str, target: str, why: str) -> None:
        super().__init__(f"column {column}: {cql_type} does not fit {target}: {why}")
        self.column = column
        self.cql_type = cql_type
        self.target = target
        self.why = why


class MaskingFailed(RowError):
    """A value could not be masked."""

    reason = "MASKING_FAILED"


class OrderLostByMask(RowError):
    """An inequality over a masked clustering column: masks keep equality, not order."""

    reason = "ORDER_LOST_BY_MASK"


class SinkError(CdcError):
    """A destination refused; the message never carries the driver's, which may hold values."""


class TransientSinkError(SinkError):
    """Down, restarting, out of connections, deadlock: worth another try."""


class PermanentSinkError(SinkError):
    """Another try would fail alike."""


class LaneLost(SinkError):
    """A younger writer holds the lane; this one rolled back and ends."""


class OffsetConflict(SinkError):
    """What is known of an offset is ahead of its destination: restored, wiped, or crashed before it was durable."""


class RowsRefused(PermanentSinkError):
    """The server refused data (SQLSTATE classes 22, 23, 54): some rows of the batch are at fault; `state` says why."""

    def __init__(self, message: str, state: str = "") -> None:
        super().__init__(message)
        self.state = state
