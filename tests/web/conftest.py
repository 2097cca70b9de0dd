from tests.web.chromium import browser

__all__ = ["browser"]
