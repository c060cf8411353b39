-- People see who runs a hub: where a host is reached, what it is, and when it was last heard of.

ALTER TABLE hosts ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN app_version TEXT;
ALTER TABLE hosts ADD COLUMN renewed_at INTEGER NOT NULL DEFAULT 0;
