"""The ends of this process: stdin, stdout, stderr, and signals."""
