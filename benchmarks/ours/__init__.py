"""Soloist as it is measured: through its client, over HTTP, and the least that its rows cost."""
