"""What Soloist is measured beside: a small program for each, run by an interpreter of its own."""
