"""The decoder against a live Cassandra: `make test-live`. It needs a JDK and Maven, or Docker; nothing else.

`jars.py` gets Cassandra's published jars by Maven and finds the JDKs; `node.py` runs a node on free loopback ports;
`docker.py` runs it in a container where Docker answers; `client.py` speaks to it in serialized values; `schemas.py`,
`statements.py` and `values.py` draw what is written, from a seed; `follow.py` decodes while it is written;
`oracle.py` asks Cassandra's own reader (`java/`); `truth.py` merges and compares with `SELECT`.

| Variable | Says |
|---|---|
| `CDC_LIVE_SEED` | the first seed; otherwise it is drawn, and printed |
| `CDC_LIVE_ROUNDS` | rounds (seeds) for each node, 1 by default |
| `CDC_LIVE_STATEMENTS` | statements in each of a round's phases |
| `CDC_LIVE_CACHE` | where the jars are kept; `~/.cache/cdc_pipeline/live` by default |
| `CDC_LIVE_JAVA` | homes of more JDKs, joined as in `PATH` |
"""
