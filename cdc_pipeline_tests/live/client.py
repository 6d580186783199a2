"""A session that takes and gives serialized values, so that every byte is ours."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any, ClassVar

from cassandra import AlreadyExists, InvalidRequest  # type: ignore[import-untyped]
from cassandra.cluster import (  # type: ignore[import-untyped]
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    ResponseFuture,
    Session,
)
from cassandra.policies import FallthroughRetryPolicy, RoundRobinPolicy  # type: ignore[import-untyped]
from cassandra.protocol import (  # type: ignore[import-untyped]
    ResultMessage,
    SyntaxException,
    _ProtocolHandler,
    read_int,
)
from cassandra.query import BatchStatement, BatchType, BoundStatement, tuple_factory  # type: ignore[import-untyped]

from cdc_pipeline_tests.live.node import ADDRESS
from cdc_pipeline_tests.live.statements import Group, Statement

REFUSALS = (InvalidRequest, AlreadyExists, SyntaxException)
"""What Cassandra answers to a statement that it does not take."""

_SECONDS = 60.0
_IN_FLIGHT = 24
_KINDS = {"LOGGED": BatchType.LOGGED, "UNLOGGED": BatchType.UNLOGGED, "COUNTER": BatchType.COUNTER}


class _RawRows(ResultMessage):  # type: ignore[misc]
    """Rows as serialized values."""

    def recv_results_rows(self, f: Any, _: int, user_types: Any, metadata: Any, *__: Any) -> None:
        self.recv_results_metadata(f, user_types)
        columns = self.column_metadata or metadata
        self.column_names = [column[2] for column in columns]
        self.column_types = [column[3] for column in columns]
        self.parsed_rows = [self.recv_row(f, len(columns)) for _ in range(read_int(f))]


class _RawProtocol(_ProtocolHandler):  # type: ignore[misc]
    message_types_by_opcode: ClassVar = {**_ProtocolHandler.message_types_by_opcode, _RawRows.opcode: _RawRows}


class Client:
    """A connection to the node on a port; `sent` and `refused` count statements."""

    def __init__(self, port: int) -> None:
        profile = ExecutionProfile(
            load_balancing_policy=RoundRobinPolicy(),
            request_timeout=_SECONDS,
            retry_policy=FallthroughRetryPolicy(),
            row_factory=tuple_factory,
        )
        self._cluster = Cluster(
            [ADDRESS],
            port=port,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            connect_timeout=_SECONDS,
            protocol_version=5,
            schema_metadata_enabled=False,
            token_metadata_enabled=False,
        )
        self._session: Session = self._cluster.connect()
        self._raw: Session = self._cluster.connect()
        self._raw.client_protocol_handler = _RawProtocol
        self._prepared: dict[str, Any] = {}
        self._waiting: collections.deque[ResponseFuture] = collections.deque()
        self.sent = 0
        self.refused: list[str] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()

    def execute(self, cql: str) -> list[Any]:
        """A statement without values; the rows of its result."""
        return list(self._session.execute(cql))

    def define(self, cql: str) -> bool:
        """A schema change; False when Cassandra refuses it."""
        self._prepared.clear()
        try:
            self._session.execute(cql)
        except REFUSALS:
            return False
        return True

    def send(self, what: Statement | Group) -> None:
        """A statement or batch, without waiting for it but for all that is too much."""
        self.sent += 1
        try:
            bound = self._batch(what) if isinstance(what, Group) else self._bound(what)
        except REFUSALS as error:
            self.refused.append(str(error))
            return
        self._waiting.append(self._session.execute_async(bound))
        self._wait(_IN_FLIGHT)

    def drain(self) -> None:
        """Waits for everything in flight."""
        self._wait(0)

    def select(self, table: str, columns: Sequence[str]) -> list[Sequence[bytes | None]]:
        """All rows as serialized values, the columns as CQL text."""
        return list(self._raw.execute(f"SELECT {', '.join(columns)} FROM {table}"))

    def _wait(self, most: int) -> None:
        while len(self._waiting) > most:
            try:
                self._waiting.popleft().result()
            except REFUSALS as error:
                self.refused.append(str(error))

    def _batch(self, group: Group) -> BatchStatement:
        batch = BatchStatement(batch_type=_KINDS[group.kind])
        for statement in group.statements:
            batch.add(self._bound(statement))
        return batch

    def _bound(self, statement: Statement) -> BoundStatement:
        if statement.cql not in self._prepared:
            self._prepared[statement.cql] = self._session.prepare(statement.cql)
        bound = BoundStatement(self._prepared[statement.cql])
        bound.values = list(statement.values)
        return bound
