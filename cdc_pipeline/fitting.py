"""From decoded changes to what the destination takes; a change that cannot go on is parked alone."""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pyarrow as pa

from cdc_pipeline.change import ChangeBatch, Damage, Position
from cdc_pipeline.decode import DecodedBatch
from cdc_pipeline.dlq import (
    DeadLetterEvent,
    FailureReason,
    Seal,
    describe_damage,
    describe_event,
    digest,
    schema_details,
)
from cdc_pipeline.errors import CdcError, PermanentSinkError, RowError
from cdc_pipeline.load import Encoded, Sink, Truncation
from cdc_pipeline.offsets import Lane
from cdc_pipeline.results import Prepared
from cdc_pipeline.schema import ChangeKind, Table
from cdc_pipeline.transform import MaskedBatch, MaskingReport, TableMasks, compact


def warm_up() -> None:
    """Has Arrow load what it loads on first use (pandas, 0.2 s), for the first micro-batch not to wait for it."""
    pa.array([0])


class RefusedByDestination(RowError):
    """The server refused a row although its types would hold it."""

    reason = FailureReason.REFUSED_BY_DESTINATION


@dataclass(frozen=True)
class Fitted:
    """A table's batch: ready to be sent, without the parked changes."""

    encoded: Encoded
    letters: list[DeadLetterEvent]
    masking: MaskingReport


class Fitter:
    """The stages between decoding and writing, for one lane. Pure but for `probing`.

    `masks` gives the decisions about a table as it was where it was read; `seal` what may be kept of raw bytes.
    """

    def __init__(self, lane: Lane, masks: Callable[[Table], TableMasks], sink: Sink, seal: Seal = digest) -> None:
        self._lane = lane
        self._masks = masks
        self._sink = sink
        self._seal = seal
        self._lock = Lock()

    def prepare(self, decoded: DecodedBatch, *, probing: bool = False) -> Prepared:
        """All tables of a micro-batch. `probing` asks the server which rows it refuses, after it refused some.

        The counts must come out even, before any offset moves: decoded = applied + parked. One thread at a time.
        """
        with self._lock:
            return self._prepare(decoded, probing=probing)

    def _prepare(self, decoded: DecodedBatch, *, probing: bool) -> Prepared:
        letters = [self._damaged(decoded, damage) for damage in decoded.damage]
        prepared = Prepared(
            position=decoded.position,
            batches=[],
            letters=letters,
            changes=Counter(),
            mutations=decoded.mutations,
            filtered=decoded.mutations - _mutations(decoded),
            masking=MaskingReport(),
            truncations=_truncations(decoded),
        )
        batches: list[Encoded] = []
        for batch in decoded.tables:
            fitted = self.fit(batch, probing=probing)
            batches.append(fitted.encoded)
            letters.extend(fitted.letters)
            prepared.changes[batch.table.full_name] += batch.changes
            prepared.masking += fitted.masking
            prepared.newest = _newest(batch, prepared.newest)
        prepared.batches = batches
        return prepared

    def fit(self, batch: ChangeBatch, *, probing: bool = False) -> Fitted:
        """Compacts, masks and types a batch without the changes that fail.

        Each change is judged by itself, so one that another of the batch supersedes is parked as it would be in a
        batch of its own: where a log is cut into batches makes no difference.
        """
        failures: dict[int, RowError] = {}
        while True:
            masked, encoded = self.once(batch, failures)
            found = {**masked.failures, **encoded.failures, **self._superseded(batch, masked, failures)}
            if not found and probing and self._sink.refusal(encoded) is not None:
                found = self._refused(batch, failures)
            if not found:
                break
            failures.update(found)
        letters = self._letters(batch, failures)
        if masked.merged.changes + len(letters) != batch.changes:
            raise CdcError(
                f"table {batch.table.full_name}: {batch.changes} changes decoded, {masked.merged.changes} to be "
                f"applied and {len(letters)} parked: the counts must be equal"
            )
        if self._sink.keeps_history(batch.table):
            _, apart = self.once(batch, failures, apart=True)
            encoded = dataclasses.replace(encoded, apart=apart.payload)
        return Fitted(encoded, letters, masked.report)

    def once(self, batch: ChangeBatch, without: Collection[int], *, apart: bool = False) -> tuple[MaskedBatch, Encoded]:
        """One way through: compact, mask, encode."""
        apart = apart or self._sink.merges(batch.table)
        masked = self._masks(batch.table).apply(compact(batch, frozenset(without), apart=apart))
        return masked, self._sink.encode(masked)

    def _superseded(self, batch: ChangeBatch, masked: MaskedBatch, failed: Collection[int]) -> dict[int, RowError]:
        """Failures of the changes that were merged with others; asked once, for then all are known."""
        shared = {*masked.merged.rows.shared.tolist(), *masked.merged.static.shared.tolist()}
        if failed or not shared:
            return {}
        apart, encoded = self.once(batch, set(range(batch.rows.num_rows)) - shared, apart=True)
        return {**apart.failures, **encoded.failures}

    def _refused(self, batch: ChangeBatch, failed: Mapping[int, RowError]) -> dict[int, RowError]:
        """The rows that the server refuses, found by halving."""
        every = frozenset(range(batch.rows.num_rows))
        refused: dict[int, RowError] = {}
        halves = [sorted(every - set(failed))]
        while halves:
            rows = halves.pop()
            _, encoded = self.once(batch, every.difference(rows))
            why = self._sink.refusal(encoded)
            if why is None:
                continue
            if len(rows) == 1:
                message = f"table {batch.table.full_name}: destination {self._sink.name} refused the row: {why}"
                refused[rows[0]] = RefusedByDestination(message)
            else:
                halves += [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
        if not refused:
            raise PermanentSinkError(
                f"destination {self._sink.name}: refused a batch of {batch.table.full_name}, but none of its rows alone"
            )
        return refused

    def _letters(self, batch: ChangeBatch, failures: Mapping[int, RowError]) -> list[DeadLetterEvent]:
        if not failures:
            return []
        masks = self._masks(batch.table)
        return [
            DeadLetterEvent(
                id=uuid.uuid5(event.event_id, str(self._lane)),
                destination=self._lane.destination,
                shard=self._lane.shard,
                keyspace=batch.table.keyspace,
                table=batch.table.name,
                reason=FailureReason(failures[row].reason),
                message=str(failures[row]),
                event=describe_event(event, batch.table, masks.is_hidden),
                schema_details=schema_details(batch.table),
                position=event.position,
            )
            for row, event in batch.indexed_events(failures)
        ]

    def _damaged(self, decoded: DecodedBatch, damage: Damage) -> DeadLetterEvent:
        table = decoded.schema.tables.get(damage.table_id) if damage.table_id is not None else None
        identity, reason, description = describe_damage(damage, decoded.segment, table, self._seal)
        return DeadLetterEvent(
            id=uuid.uuid5(identity, str(self._lane)),
            destination=self._lane.destination,
            shard=self._lane.shard,
            keyspace=table.keyspace if table else None,
            table=table.name if table else None,
            reason=reason,
            message=str(damage.error),
            event=description,
            schema_details=schema_details(table) if table else {},
            position=Position(decoded.segment, damage.error.offset),
        )


def _truncations(decoded: DecodedBatch) -> list[Truncation]:
    """The tables that were truncated or dropped at the end of a micro-batch."""
    found = []
    for event in decoded.events:
        table = decoded.schema.tables.get(event.table_id) if event.table_id is not None else None
        if table is not None and event.truncated_micros is not None:
            found.append(Truncation(table, event.truncated_micros))
        elif table is not None and event.kind is ChangeKind.REMOVED:
            found.append(Truncation(table, 0, dropped=True))
    return found


def _mutations(decoded: DecodedBatch) -> int:
    """How many mutations hold a change of a loaded table."""
    if not decoded.tables:
        return 0
    positions = [batch.rows.column("position").to_numpy() for batch in decoded.tables]
    return len(np.unique(np.concatenate(positions)))


def _newest(batch: ChangeBatch, so_far: int | None) -> int | None:
    """The greatest writetime (µs) of cells seen so far."""
    if not batch.cells.num_rows:
        return so_far
    newest = int(batch.cells.column("ts").to_numpy().max())
    return newest if so_far is None else max(newest, so_far)
