"""One frame of a finished board painted again."""
