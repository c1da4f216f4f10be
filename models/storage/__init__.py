"""Local files: atomic writes, checksums, LoRAs on disk, and the store of finished work."""
