"""Tools of the repository that are not shipped: document writers and the checks of `make lint`."""
