"""What may happen in the city. Pure: no I/O, no clock, no randomness; the standard library and msgspec only."""
