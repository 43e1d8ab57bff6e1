"""A Singer target that loads refunds, costs and orders into Klar."""
