"""A record of options as a form: in the dashboard, and as the groups of --help."""
