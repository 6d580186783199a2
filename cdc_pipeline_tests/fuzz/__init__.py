"""Damaged segments: what the decoder makes of bytes that no Cassandra would write. `make fuzz` runs it for longer.

`flips.py` drops one bit of a real recording; `shapes.py` draws tables and mutations, `faults.py` breaks single fields
of them while they are written, so that the CRCs around them are right and the damage reaches the inner grammar;
`twins.py` decodes on the compiled kernel and on the interpreted one and says what has to hold; `coverage.py` is led by
what the interpreted kernel executes (atheris); `sanitize.py` runs the compiled one under AddressSanitizer.
`__main__.py` runs each for some minutes.
"""
