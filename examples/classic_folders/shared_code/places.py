"""Places."""

DEFAULT_TOUR = ["Tokyo", "Seattle", "London"]
