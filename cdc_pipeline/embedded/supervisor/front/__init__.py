"""A small HTTP front over chDB, for what `clickhouse-connect` asks of a ClickHouse server on loopback.

It is not a server's own HTTP interface: one user, no compression of answers, several statements in one request are run.
Standard library and relative imports only, as in the whole supervisor; chDB's extension module is loaded alone, without
the package around it, which would import pandas.
"""
