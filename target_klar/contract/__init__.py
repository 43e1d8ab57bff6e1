"""What Klar takes: for each stream its addresses, its objects, and where each fact comes from."""
