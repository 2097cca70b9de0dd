"""Breaks the Copilot's own processes on purpose and counts what became of its promises: `python -m chaos --help`.

Not shipped. Everything runs on loopback, in a temporary folder, under the supervisor that `copilot up` uses, and is
ended with it."""
