"""Yardsticks: the same work in other stacks, each as a careful engineer would write it."""
