-- Questions that are answered over several requests. Each is changed as a whole, from one round to the next. `number` is the
-- order in which they were opened. A row holds a whole request, so that it is kept by that number, not by its name: a search
-- for a name would else go through pages full of requests.
CREATE TABLE operations (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
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
) STRICT;

CREATE INDEX operations_by_expiry ON operations (expires_at);
CREATE INDEX operations_of_thread ON operations (thread, principal) WHERE thread IS NOT NULL;
CREATE INDEX operations_of_task ON operations (task, principal);
CREATE INDEX operations_of_owner ON operations (owner, changed_at) WHERE owner IS NOT NULL;

CREATE TRIGGER operations_begin_at_the_beginning BEFORE INSERT ON operations
WHEN NEW.round <> 0
BEGIN SELECT RAISE(ABORT, 'an operation begins in round 0'); END;

CREATE TRIGGER operations_go_forward BEFORE UPDATE ON operations
WHEN NEW.round <> OLD.round + 1
BEGIN SELECT RAISE(ABORT, 'an operation goes from one round to the next'); END;

CREATE TRIGGER operations_are_frozen BEFORE UPDATE OF number, id, principal, task, opened_at ON operations
BEGIN SELECT RAISE(ABORT, 'whose an operation is never changes'); END;
