"""The embedded stack: what `copilot demo` starts, keeps running, breaks on purpose and takes down again."""
