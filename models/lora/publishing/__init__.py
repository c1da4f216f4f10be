"""A chosen checkpoint as a character that the storyboard and other programs read."""
