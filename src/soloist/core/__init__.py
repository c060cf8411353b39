"""The pure heart: values and the rules about them.

Nothing here waits, reads a clock or draws a random number; times and identifiers are arguments.
"""
