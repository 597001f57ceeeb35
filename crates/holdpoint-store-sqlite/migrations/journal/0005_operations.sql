-- Questions that are answered over several requests. Each is changed as a whole, from one round to the next.
CREATE TABLE operations (
    id          TEXT PRIMARY KEY NOT NULL,
    principal   TEXT NOT NULL,
    task        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('asked', 'waiting', 'running', 'answered')),
    round       INTEGER NOT NULL DEFAULT 0 CHECK (round BETWEEN 0 AND 4294967295),
    thread      TEXT,
    content     BLOB NOT NULL,
    owner       TEXT,
    opened_at   INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    CHECK (state NOT IN ('waiting', 'running') OR owner IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX operations_by_expiry ON operations (expires_at);
CREATE INDEX operations_of_thread ON operations (thread, opened_at) WHERE thread IS NOT NULL;
CREATE INDEX operations_of_task ON operations (task, opened_at);
CREATE INDEX operations_of_owner ON operations (owner, changed_at) WHERE owner IS NOT NULL;

CREATE TRIGGER operations_go_forward BEFORE UPDATE ON operations
WHEN NEW.round <> OLD.round + 1
BEGIN SELECT RAISE(ABORT, 'an operation goes from one round to the next'); END;

CREATE TRIGGER operations_are_frozen BEFORE UPDATE OF id, principal, task, opened_at ON operations
BEGIN SELECT RAISE(ABORT, 'whose an operation is never changes'); END;
