"""A board, which is a storyboard on disk: its directory, report and contact sheet."""
