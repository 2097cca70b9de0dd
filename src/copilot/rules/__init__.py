"""Decides: signals, gates, state and findings. Pure: no I/O, no clock, no sentences."""
