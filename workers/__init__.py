"""What happens after a commit: the relay that keeps Redis in step, and the jobs that reach partners."""
