"""The rules: pure functions from what was read to what is said. No I/O, clock, environment or randomness."""
