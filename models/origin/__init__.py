"""What the files say of their origin: that a machine made them, and, signed, how."""
