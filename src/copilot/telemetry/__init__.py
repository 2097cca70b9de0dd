"""The Copilot's own telemetry: logs, traces and metrics of its processes."""
