"""Writers of the documents that are made from the code: `python -m tools.docs.NAME` prints docs/NAME.md."""
