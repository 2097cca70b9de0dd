"""Numbered SQL files, run in order by copilot.store.migrate."""
