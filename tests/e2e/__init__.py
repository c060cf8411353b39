"""Soloist as its users meet it: real processes, real HTTP, real files."""
