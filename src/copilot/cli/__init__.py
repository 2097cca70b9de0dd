"""The `copilot` command: it reads what was asked, calls one thing, and prints the answer."""
