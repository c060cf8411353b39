-- Tags, a place in a trace, a time to begin at: JSON, and NULL in most instances.

ALTER TABLE instances ADD COLUMN extras TEXT;
