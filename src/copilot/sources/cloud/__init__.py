"""Temporal Cloud's metrics: one read a minute of an account, cut by namespace for each cluster that is watched."""
