"""A book: the storyboards of many stories, and an index of them."""
