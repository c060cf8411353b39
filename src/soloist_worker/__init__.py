"""The worker: runs the user's code, in the user's interpreter, for a Soloist host.

Nothing here imports ``soloist``, and nothing imports ``azure`` until an app is loaded: the
package must start wherever there is a bare Python 3.10.
"""
