"""Measured beside the limits and the peers; `make bench` runs them."""
