"""One frame: how it is painted, scored and retried, and what its PNG says of that."""
