"""Tables of simulated lines: each held against what is promised or expected, run part by part, written."""
