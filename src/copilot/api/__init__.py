"""The JSON API and the server of the page: the current verdict, its history, and metrics, over HTTP."""
