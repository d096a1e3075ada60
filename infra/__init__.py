"""The only place that knows PostgreSQL, files and processes."""
