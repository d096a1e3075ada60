"""How the world talks to the core."""
