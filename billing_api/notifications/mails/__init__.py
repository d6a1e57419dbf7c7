"""Mails: kinds, subjects, templates, rendering, and the rows that wait to be sent. Workers deliver them."""
