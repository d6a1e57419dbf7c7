"""`python -m bench`: what one validation costs, here and in the stacks one might have chosen instead, in one run."""
