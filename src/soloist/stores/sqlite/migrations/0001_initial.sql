-- The first schema. Times are microseconds since 1970, UTC.

CREATE TABLE schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
);

-- One file may hold several task hubs; the rows below name them by number.
CREATE TABLE hubs (
    hub_id     INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
);

-- The facts of a start. The number of a start is its generation, the fencing token; AUTOINCREMENT,
-- because it must never be used again.
CREATE TABLE instances (
    generation  INTEGER PRIMARY KEY AUTOINCREMENT,
    hub_id      INTEGER NOT NULL,
    instance_id TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    version     TEXT,
    created_at  INTEGER NOT NULL,
    input       TEXT,
    UNIQUE (hub_id, instance_id)
);

-- What changes while an instance runs; apart from the facts, so that a step does not rewrite the
-- input. due_at is when somebody must look at the instance should no host hold it.
CREATE TABLE executions (
    generation     INTEGER PRIMARY KEY,
    hub_id         INTEGER NOT NULL,
    execution_id   TEXT    NOT NULL,
    status         TEXT    NOT NULL,
    owner          INTEGER,
    epoch          INTEGER NOT NULL,
    due_at         INTEGER,
    updated_at     INTEGER NOT NULL,
    history_length INTEGER NOT NULL,
    custom_status  TEXT,
    output         TEXT,
    failure        TEXT
);

CREATE INDEX executions_due ON executions (hub_id, due_at)
    WHERE owner IS NULL AND due_at IS NOT NULL;

CREATE INDEX executions_held ON executions (owner)
    WHERE owner IS NOT NULL;

-- One row a committed episode; sequence is the number of its first event. A rowid table: episodes
-- of many instances are then written side by side at the end, at half the cost of one place each.
CREATE TABLE history (
    generation INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    codec      INTEGER NOT NULL,
    events     TEXT    NOT NULL,
    UNIQUE (generation, sequence)
);

CREATE TABLE inbox (
    message_id INTEGER PRIMARY KEY AUTOINCREMENT,
    generation INTEGER NOT NULL,
    terminates INTEGER NOT NULL,
    event      TEXT    NOT NULL
);

CREATE INDEX inbox_generation ON inbox (generation);

-- A start must learn at once whether a termination waits, however full the inbox is.
CREATE INDEX inbox_terminations ON inbox (generation) WHERE terminates;

CREATE TABLE hosts (
    host_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    hub_id     INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    process_id INTEGER NOT NULL,
    machine    TEXT    NOT NULL,
    joined_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE INDEX hosts_hub ON hosts (hub_id);

CREATE TABLE access_keys (
    hub_id     INTEGER NOT NULL,
    scope      TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (hub_id, scope, name)
) WITHOUT ROWID;
