"""Groups of options: the forms of the dashboard and the sections of --help."""
