"""The same job in stacks one might have chosen instead, each as a careful engineer would write it."""
