"""Screenplays in Fountain and Final Draft's FDX as scenes."""
