"""`python -m copilot` is the `copilot` command."""

from copilot.cli.main import run

if __name__ == "__main__":
    run()
