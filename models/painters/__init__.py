"""Who paints: this process, or processes elsewhere. Everything above calls the `Painter` protocol alone."""
