"""What `copilot up` runs on one machine: a supervisor, the Copilot's own Temporal and PostgreSQL, and its processes."""
