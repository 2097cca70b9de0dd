"""The `copilot` command: one file a command. Each parses options, calls one function, and prints the result."""
