"""Log semantics without I/O: lines of a Temporal server, known patterns, mined templates, and counts."""
