"""The seams between rooms, as protocols; their promises stand in the docstrings."""
