"""From a batch to Klar, and from Klar's status to the STATE."""
