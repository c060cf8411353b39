"""The gRPC face: the Durable Task protocol, spoken by Microsoft's own SDKs in every language.

Clients manage instances over it, and workers are handed work and answer. It is the only room that
imports the protocol's stubs, which the extra ``soloist[grpc]`` brings.
"""

from __future__ import annotations

import os

# Workers of an app are started as programs of their own, never forked, so gRPC need not prepare for
# a fork in each of its calls.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
