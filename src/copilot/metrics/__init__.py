"""Metric semantics without I/O: dialects, PromQL, rate windows, and the step from numbers to readings."""
