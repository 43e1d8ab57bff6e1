"""How a record as a tap wrote it becomes what Klar takes, or a rejection with its reasons."""
