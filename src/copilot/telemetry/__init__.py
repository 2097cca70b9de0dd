"""What the Copilot says about itself: its logs, traces and metrics."""
