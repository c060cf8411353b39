-- The first schema. Times are microseconds since 1970, UTC.

CREATE TABLE soloist.schema_migrations (
    version    integer PRIMARY KEY,
    name       text    NOT NULL,
    applied_at bigint  NOT NULL
);

-- One database may hold several task hubs; the rows below name them by number.
CREATE TABLE soloist.hubs (
    hub_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text    NOT NULL UNIQUE,
    created_at bigint  NOT NULL
);

-- The number of a start is its generation, the fencing token; a sequence never gives one twice.
CREATE SEQUENCE soloist.generations;

-- The facts of a start. Ids are ordered by their code points, whatever the database's language.
CREATE TABLE soloist.instances (
    generation          bigint  PRIMARY KEY,
    hub_id              integer NOT NULL,
    instance_id         text    COLLATE "C" NOT NULL,
    name                text    COLLATE "C" NOT NULL,
    version             text,
    created_at          bigint  NOT NULL,
    input               text,
    -- The task that waits for the end of this instance: all four, or none.
    parent_instance_id  text,
    parent_generation   bigint,
    parent_execution_id text,
    parent_task_id      bigint,
    UNIQUE (hub_id, instance_id)
);

CREATE INDEX instances_parent ON soloist.instances (parent_generation)
    WHERE parent_generation IS NOT NULL;

-- What changes while an instance runs; apart from the facts, so that a step does not rewrite the
-- input. due_at is when somebody must look at the instance should no host hold it; mail, that its
-- holder has not been told of a message from another process. Whoever changes the inbox of an
-- instance holds the lock of this row. A page is left half empty, so that a step finds room beside
-- the row that it replaces and no index need be touched.
CREATE TABLE soloist.executions (
    generation      bigint  PRIMARY KEY,
    hub_id          integer NOT NULL,
    execution_id    text    NOT NULL,
    status          text    NOT NULL,
    owner           bigint,
    epoch           bigint  NOT NULL,
    due_at          bigint,
    updated_at      bigint  NOT NULL,
    history_length  bigint  NOT NULL,
    custom_status   text,
    output          text,
    failure         text,
    last_message_id bigint  NOT NULL DEFAULT 0,
    mail            boolean NOT NULL DEFAULT false
) WITH (fillfactor = 60);

CREATE INDEX executions_due ON soloist.executions (hub_id, due_at, generation)
    WHERE owner IS NULL AND due_at IS NOT NULL;

CREATE INDEX executions_held ON soloist.executions (owner)
    WHERE owner IS NOT NULL;

CREATE INDEX executions_mail ON soloist.executions (owner)
    WHERE mail;

-- One row a committed episode; sequence is the number of its first event.
CREATE TABLE soloist.history (
    generation bigint  NOT NULL,
    sequence   bigint  NOT NULL,
    codec      integer NOT NULL,
    events     text    NOT NULL,
    PRIMARY KEY (generation, sequence)
);

-- Messages are numbered in the order of their arrival at one instance.
CREATE TABLE soloist.inbox (
    generation bigint  NOT NULL,
    message_id bigint  NOT NULL,
    terminates boolean NOT NULL,
    due_at     bigint,
    event      text    NOT NULL,
    PRIMARY KEY (generation, message_id)
);

-- A start must learn at once whether a termination waits, however full the inbox is.
CREATE INDEX inbox_terminations ON soloist.inbox (generation) WHERE terminates;

CREATE TABLE soloist.hosts (
    host_id     bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hub_id      integer NOT NULL,
    name        text    NOT NULL,
    address     text    NOT NULL,
    version     text    NOT NULL,
    app_version text,
    process_id  integer NOT NULL,
    machine     text    NOT NULL,
    joined_at   bigint  NOT NULL,
    renewed_at  bigint  NOT NULL,
    expires_at  bigint  NOT NULL
);

CREATE INDEX hosts_hub ON soloist.hosts (hub_id);

CREATE TABLE soloist.access_keys (
    hub_id     integer NOT NULL,
    scope      text    COLLATE "C" NOT NULL,
    name       text    COLLATE "C" NOT NULL,
    value      text    NOT NULL,
    created_at bigint  NOT NULL,
    PRIMARY KEY (hub_id, scope, name)
);
