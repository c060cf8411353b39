"""The face that hosts Function apps."""
