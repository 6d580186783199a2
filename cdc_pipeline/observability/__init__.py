"""What an operator sees: JSON logs, Prometheus metrics, the health of each system alone."""
