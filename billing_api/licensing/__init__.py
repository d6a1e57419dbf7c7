"""Licensing: licenses, their activation, API keys, offline leases and usage.

Licensing does not know how a license is paid for: commerce tells it.
"""
