"""Who comes to a running stack: NextPanel's servers, customers, administrators. Locust users, each with its habits."""
