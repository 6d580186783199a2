"""ClickHouse: cells merged by the server as the greatest of their tuples, read through views."""
