"""PostgreSQL: state tables merged per cell, and views that answer what Cassandra answers.

`types/` CQL types in PostgreSQL; `options.py`, `names.py`, `plan.py` what a table becomes; `ddl.py` its tables and
view over `functions.sql`, which `migrate.py` runs where they are missing; `publish.py`, `surface.py`, `touched.py`
what users read, a view or a table kept equal to it; `encode.py`, `cells.py`, `fields.py`, `copy_cy.py` a batch as
binary COPY; `merge.py` the SQL of the merge; `write.py`, `fresh.py` how rows get there; `offsets.py`,
`dead_letters.py` what goes into the same transaction; `sink.py` the transaction, over `connection.py` and
`errors.py`; `rerender.py` values shown anew; `purge.py` what is forgotten; `parity.py` compares a view with a truth.
"""

from cdc_pipeline.load.postgres.copy_cy import COMPILED
from cdc_pipeline.load.postgres.sink import PostgresSink

__all__ = ["COMPILED", "PostgresSink"]
