"""Gateways to partners: Stripe, NextPanel, the mail relay. Each has a Protocol of the calls we make, and an adapter."""
