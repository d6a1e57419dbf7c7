"""Step-up: somebody signed in proves again that it is he, for what a forgotten browser must not be enough for."""
