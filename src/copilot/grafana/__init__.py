"""Dashboards, alert rules and provisioning for Grafana, built from the taxonomy and the API's shapes."""
