"""What the user sets, where it is read from, and what is wrong with it."""
