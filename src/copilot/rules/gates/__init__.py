"""The gates: one record a rule."""
