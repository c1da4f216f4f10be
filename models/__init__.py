"""Everything that does the work. Imports no Prefect, so that it can be tested and used without it."""
