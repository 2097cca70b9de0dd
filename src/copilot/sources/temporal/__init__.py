"""Signals from Temporal's own API: whether the frontend answers, and the backlog, rates and pollers of task queues."""
