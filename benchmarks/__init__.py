"""Hot paths against their peers: `python -m benchmarks NAME [--rows N]`, one JSON object a line.

Every module here but `timing` is one benchmark. It defines `ROWS`, its usual size, and `run(rows)`, which
yields the lines; `timing.compare` runs ours and the peers turn by turn on the same data, so that a busy
machine slows all of them alike, and refuses to report a ratio between answers that differ.
"""
