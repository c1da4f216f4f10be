"""The command lines: options of a record, one-line errors, and a run from its checks to its last line."""
