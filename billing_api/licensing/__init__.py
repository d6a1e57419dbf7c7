"""Licensing: licenses, their activation, API keys, offline leases and usage.

Licensing does not import commerce: commerce calls it when a license is paid.
"""
