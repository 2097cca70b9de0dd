"""Dashboards, alert rules and provisioning for Grafana: files to edit, and dashboards generated from the taxonomy."""
