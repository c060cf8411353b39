"""The activity."""


def main(number: int) -> str:
    """Say a number."""
    return f"{number}…"
