-- What a host has no worker for at its gRPC door: JSON, and NULL where it has none or does not tell.

ALTER TABLE hosts ADD COLUMN lacks TEXT;
