"""Real engines of the demo and of the tests, without Docker and without anything installed in the system."""
