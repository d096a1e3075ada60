"""Validation of documents: the rules, and their errors in the client's language."""
