"""What we hold about somebody: all of it shown to him, and forgotten when he goes, but for what the law wants kept."""
