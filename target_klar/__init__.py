"""A Singer target that loads refunds and transaction costs into Klar."""
