"""A folder of captioned pictures, read, checked and encoded."""
