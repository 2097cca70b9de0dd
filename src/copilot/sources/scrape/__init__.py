"""Signals from bare metrics pages, read every few seconds in the background."""
