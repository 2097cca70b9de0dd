"""The findings: what is wrong, one record a kind."""
