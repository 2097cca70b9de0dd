"""The signal table, readings, and expressions over metrics."""
