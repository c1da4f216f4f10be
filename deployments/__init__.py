"""What runs the flows as a service: the work pool and all that belongs to it, and `make up`."""
