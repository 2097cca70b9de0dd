"""The JSON API, and the page at `/`: what is said about the clusters, for people and programs."""
