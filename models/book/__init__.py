"""Many stories: which boards exist already, and one index of all of them."""
