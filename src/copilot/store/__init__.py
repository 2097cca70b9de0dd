"""The state store: snapshots of every tick, assessments with their issues, and what can be asked of them."""
