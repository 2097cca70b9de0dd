"""Signals: the table, the expressions that compute them, and readings with their reasons."""
