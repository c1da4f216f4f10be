"""The flows as a service: the work pool, its deployments, and `make up`."""
