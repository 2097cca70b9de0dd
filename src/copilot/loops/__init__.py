"""The Copilot's Temporal workflows and activities, the worker that runs them, and the starter."""
