"""The incident lab: scenarios that really happen to a real server, what a fair judge expects, recordings."""
