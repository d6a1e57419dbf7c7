"""Personal data: export and deletion of everything held about a user, except for what the law wants kept."""
