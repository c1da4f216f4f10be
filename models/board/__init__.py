"""The storyboard on disk: its directory, the store of finished work, the report and the contact sheet."""
