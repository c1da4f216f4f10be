"""Files on this machine: atomic writes, checksums, LoRAs on local disk, and the store of finished work."""
