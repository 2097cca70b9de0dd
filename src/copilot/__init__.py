"""Temporal SRE Copilot: is the cluster making forward progress on the work it has?"""

__version__ = "0.1.0"
