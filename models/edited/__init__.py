"""A board made again from its settings and its edited scenes."""
