from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP, Bound, CellKind, RowKind
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import KEY, MICROS, NOW, T, decode, read

GONE = en.BASE.deletion(MICROS, NOW)


def test_columns_of_a_batch(tmp_path: Path) -> None:
    """Rows and cells have the columns, types and numbers that `change` promises."""
    rows = [
        en.row(en.clustering([b"a"]), [en.cell(b"x")], live=en.Liveness(MICROS + 1, 60, NOW + 60)),
        en.bound(en.INCL_START, [b"b"], GONE),
        en.bound(en.EXCL_END, [], GONE),
    ]
    static = en.static_row([en.cell(None, at=MICROS, local=NOW)])
    update = en.update(T.id.bytes, KEY, rows, columns=["v"], static_columns=["s"], static=static, deletion=GONE)
    (batch,) = decode(tmp_path, en.mutation(update, en.empty_update(T.id.bytes, KEY)))
    (change,) = batch.tables
    change.rows.validate(full=True)
    change.cells.validate(full=True)
    found = change.rows.to_pydict()
    assert found["kind"] == [RowKind.PARTITION, RowKind.STATIC, RowKind.ROW, RowKind.RANGE, RowKind.NOTHING]
    assert found["live_ts"] == [NO_TIMESTAMP, NO_TIMESTAMP, MICROS + 1, NO_TIMESTAMP, NO_TIMESTAMP]
    assert found["live_ttl"] == [0, 0, 60, 0, 0]
    assert found["live_local"] == [0, 0, NOW + 60, 0, 0]
    assert found["del_ts"] == [MICROS, NO_TIMESTAMP, NO_TIMESTAMP, MICROS, NO_TIMESTAMP]
    assert found["del_local"] == [NOW, 0, 0, NOW, 0]
    assert found["cell_end"] == [0, 1, 2, 2, 2]
    assert found["key0"] == [KEY] * 5
    assert found["ck0"] == [None, None, b"a", None, None]
    assert len(set(found["update"][:4])) == 1 < len(set(found["update"]))
    assert set(found["position"]) == {batch.end}
    assert change.changes == 4
    assert change.ranges == ((Bound((b"b",), True), Bound((), False)),)
    assert change.cells.to_pydict() == {
        "column": [T.value_ids["s"], T.value_ids["v"]],
        "kind": [CellKind.TOMBSTONE, CellKind.LIVE],
        "ts": [MICROS, MICROS + 1],
        "ttl": [0, 0],
        "local": [NOW, 0],
        "path": [None, None],
        "value": [None, b"x"],
    }


def test_types_of_a_batch(tmp_path: Path) -> None:
    """Columns are as narrow as Cassandra's numbers: seconds since 1970 go to 2^32 - 1, TTLs to 2^31 - 1."""
    row = en.row(en.clustering([b"a"]), [en.cell(b"x", at=MICROS)])
    (batch,) = decode(tmp_path, en.mutation(en.update(T.id.bytes, KEY, [row], columns=["v"])))
    widths = {"kind": pa.uint8(), "cell_end": pa.int32(), "column": pa.int32()}
    for field in (*batch.tables[0].rows.schema, *batch.tables[0].cells.schema):
        expected = widths.get(field.name, pa.int64())
        if field.name.startswith(("key", "ck", "path", "value")):
            expected = pa.binary()
        elif field.name.endswith("local"):
            expected = pa.uint32()
        elif field.name.endswith("ttl"):
            expected = pa.int32()
        assert field.type == expected


def test_batches_own_their_buffers(tmp_path: Path) -> None:
    """A batch stays as it is while the decoder fills the next ones."""
    rows = [en.row(en.clustering([bytes([97 + i])]), [en.cell(bytes([65 + i]) * 40, at=MICROS)]) for i in range(20)]
    mutations = [en.mutation(en.update(T.id.bytes, KEY, [row], columns=["v"])) for row in rows]
    path = en.write(tmp_path, en.segment([b"".join(map(en.entry, mutations))]))
    batches = read(path, max_rows=1)
    values = [batch.tables[0].cells.column("value").to_pylist() for batch in batches]
    assert values == [[bytes([65 + i]) * 40] for i in range(20)]
