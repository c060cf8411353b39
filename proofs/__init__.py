"""What Soloist promises, shown at length: each module is a command that prints what it counted."""
