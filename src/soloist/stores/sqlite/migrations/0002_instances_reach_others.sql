-- One step reaches other instances: a sub-orchestration knows the task that waits for it, and a
-- message may be due later.

-- The task that waits for the end of this instance: all four, or none.
ALTER TABLE instances ADD COLUMN parent_instance_id TEXT;
ALTER TABLE instances ADD COLUMN parent_generation INTEGER;
ALTER TABLE instances ADD COLUMN parent_execution_id TEXT;
ALTER TABLE instances ADD COLUMN parent_task_id INTEGER;

CREATE INDEX instances_parent ON instances (parent_generation)
    WHERE parent_generation IS NOT NULL;

-- NULL: at once. Most messages are, and cost nothing in the index.
ALTER TABLE inbox ADD COLUMN due_at INTEGER;

CREATE INDEX inbox_delayed ON inbox (generation, due_at) WHERE due_at IS NOT NULL;
