"""PostgreSQL: state tables merged per cell, and views that answer what Cassandra answers.

`types/` CQL types in PostgreSQL; `names.py`, `plan.py` what a table becomes; `ddl.py` its tables and view over
`functions.sql`, which `migrate.py` runs where they are missing; `encode.py`, `cells.py`, `copy_cy.py` a batch as
binary COPY; `merge.py` the SQL of the merge; `offsets.py`, `dead_letters.py` what goes into the same transaction;
`sink.py` the transaction; `parity.py` compares a view with a truth.
"""

from cdc_pipeline.load.postgres.copy_cy import COMPILED
from cdc_pipeline.load.postgres.sink import PostgresSink

__all__ = ["COMPILED", "PostgresSink"]
