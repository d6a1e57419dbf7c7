"""What somebody proves himself with: password and e-mail address, how they are checked, changed and recovered."""
