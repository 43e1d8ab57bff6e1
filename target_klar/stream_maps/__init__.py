"""The SDK's stream maps: which apply to a source stream, what one makes of a record, and what its expressions read."""
