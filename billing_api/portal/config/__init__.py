"""Configuration of the portal: what it has to know before anybody signs in."""
