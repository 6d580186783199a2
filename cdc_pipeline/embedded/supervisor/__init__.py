"""The process that owns one embedded server, apart from everybody who uses it.

Every user of a folder holds a shared lock on `users.lock`. The supervisor waits for the exclusive one: it gets it when
the last user has gone, however it went, and then stops the server. A PostgreSQL dies with its supervisor (Linux:
PR_SET_PDEATHSIG), a ClickHouse is its supervisor: neither a killed user nor a killed supervisor leaks one.

Standard library and relative imports only: the launcher runs it as a package of its own (`python -I -S`), so it starts
in some 50 ms whatever the rest of `cdc_pipeline` imports. It says one JSON line on stdout, `{"port": …}` or
`{"error": …}`, and goes silent.
"""
