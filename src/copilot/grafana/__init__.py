"""Dashboards, alert rules and provisioning for Grafana: files that a person edits, and the dashboards of the signals."""
