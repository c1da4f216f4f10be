"""What leaves the house: a finished board as files for other people and other programs."""
