"""The API: how clients talk to the core."""
