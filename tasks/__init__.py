"""Inner problems as tasks of the ecosystem, and their data."""
