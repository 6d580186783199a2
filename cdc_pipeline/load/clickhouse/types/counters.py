"""Counters: per counter id the shard with the greatest clock, and the one with the greatest writetime.

A shard is hidden by a deletion that is not older than its writetime; of each counter id the one counts that is not
hidden and has the greatest (clock, count). A node's clocks rise with its writetimes, so one of the two is that shard,
unless a deletion fell between writes that a node took within one moment and in the other order (docs/counters.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.load.arrays import content
from cdc_pipeline.transform.counters import SHARD, shards

BY_CLOCK = "Map(FixedString(16), Tuple(k UInt64, n UInt64, w UInt64))"
BY_TIME = "Map(FixedString(16), Tuple(w UInt64, k UInt64, n UInt64))"

_SIGN = 1 << 63


def unreadable(path: bytes | None, context: bytes | None) -> str | None:
    """Why a cell is not the shard of a counter; None: it is."""
    if path:
        return None
    try:
        shards(context or b"")
    except ValueError as error:
        return str(error)
    return "expected a counter that lives for ever, found one that expires"


def parts(paths: pa.BinaryArray) -> tuple[pa.Array, npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """(counter ids, clocks, counts) of shards, the numbers with their sign turned."""
    raw = np.ascontiguousarray(content(paths)[0]).reshape(-1, SHARD)
    ids = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(raw), [None, pa.py_buffer(np.ascontiguousarray(raw[:, :16]).tobytes())]
    )
    numbers = np.ascontiguousarray(raw[:, 16:]).view(">u8").astype(np.uint64)
    return ids, numbers[:, 0].copy(), numbers[:, 1].copy()


def shown(by_clock: str, by_time: str, deleted: str, lowest: str) -> str:
    """The sum, as 64 bits wrap; NULL where no shard counts. A deletion of the column hides all, younger ones too, until
    a deletion of the row or a truncation hides it (CASSANDRA-7346)."""
    count = (
        f"arrayMap((a, b) -> if(tupleElement(a, 'w') > {lowest}, tupleElement(a, 'n'), tupleElement(b, 'n')), "
        f"mapValues({by_clock}), mapValues({by_time}))"
    )
    alive = f"arrayMap(b -> tupleElement(b, 'w') > {lowest}, mapValues({by_time}))"
    numbers = f"arrayMap(n -> reinterpret(n + {_SIGN}, 'Int64'), arrayFilter((n, alive) -> alive, {count}, {alive}))"
    return f"if({deleted} > {lowest} OR NOT arrayExists(a -> a, {alive}), NULL, arraySum({numbers}))"
