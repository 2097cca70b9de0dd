"""The settings of copilot.toml and the environment: one model a section."""
