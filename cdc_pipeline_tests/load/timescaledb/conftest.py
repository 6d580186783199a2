"""The tests in `server` are there where a server is."""

from __future__ import annotations

from cdc_pipeline_tests.load.timescaledb.provider import source

collect_ignore = [] if source() else ["server"]
