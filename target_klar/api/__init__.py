"""HTTP to Klar, and nothing of Singer: requests, retries, attempts that end, what answers mean."""
