"""Notifications: which channel gets one and when, what it says, and one module a protocol that delivers it."""
