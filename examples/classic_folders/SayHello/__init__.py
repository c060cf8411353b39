"""Greets a city."""


def main(city: str) -> str:
    """Say hello."""
    return f"Hello {city}!"
