"""Removes secrets and personal data from every text that is shown, sent or stored."""
