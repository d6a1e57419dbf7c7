"""Login throttle: each password guess is counted before it is judged, so that nobody has many or is locked out."""
