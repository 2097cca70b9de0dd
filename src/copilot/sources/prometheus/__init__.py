"""Signals from a Prometheus or a server with its API: now (`instant`) and in the past (`range`)."""
