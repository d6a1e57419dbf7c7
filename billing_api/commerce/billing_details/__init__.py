"""Billing details: the name, address and tax ids that a customer's invoices show."""
