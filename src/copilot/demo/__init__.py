"""What `copilot demo` runs: a Temporal cluster with workers and load, faults to inject, and a Copilot watching it."""
