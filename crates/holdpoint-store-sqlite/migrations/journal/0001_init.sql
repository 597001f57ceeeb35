-- The middleware's record of holds. Instants are microseconds since 1970.
-- `version` rises with every change of any row, so that "what changed since" is one indexed question.

CREATE TABLE holds (
    id          INTEGER PRIMARY KEY NOT NULL,
    version     INTEGER NOT NULL UNIQUE,
    state       TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'dispatched', 'done', 'unknown', 'rejected',
                    'expired', 'cancelled', 'changes_requested', 'void')),
    principal   TEXT NOT NULL,
    server      TEXT NOT NULL,
    tool        TEXT NOT NULL,
    digest      BLOB NOT NULL CHECK (length(digest) = 32),
    task_id     TEXT NOT NULL,
    thread_id   TEXT NOT NULL,
    binding     TEXT NOT NULL,
    review_url  TEXT,
    arguments   TEXT,
    definition  BLOB CHECK (length(definition) = 32),
    policy      TEXT NOT NULL,
    opened_at   INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    claim_owner TEXT,
    claimed_at  INTEGER,
    result      BLOB,
    delivered   INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1)),
    CHECK ((claim_owner IS NULL) = (claimed_at IS NULL)),
    CHECK (state <> 'pending' OR claim_owner IS NULL),
    CHECK (state NOT IN ('approved', 'dispatched', 'done', 'unknown') OR claim_owner IS NOT NULL),
    CHECK (result IS NULL OR (state = 'done' AND delivered = 0)),
    CHECK (delivered = 0 OR state = 'done')
) STRICT;

-- At most one live hold per call, whichever process opens it.
CREATE UNIQUE INDEX holds_live ON holds (principal, server, tool, digest)
    WHERE state IN ('pending', 'approved', 'dispatched', 'unknown') OR (state = 'done' AND delivered = 0);

CREATE INDEX holds_by_digest ON holds (digest);

CREATE TRIGGER holds_ended_is_final BEFORE UPDATE ON holds
WHEN OLD.state IN ('rejected', 'expired', 'cancelled', 'changes_requested', 'void') OR OLD.delivered = 1
BEGIN SELECT RAISE(ABORT, 'an ended hold stays ended'); END;

-- What was asked about stays what was asked about.
CREATE TRIGGER holds_call_is_frozen BEFORE UPDATE OF principal, server, tool, digest, task_id, thread_id, binding,
    review_url, arguments, definition, policy, opened_at ON holds
BEGIN SELECT RAISE(ABORT, 'what a hold is about is never changed'); END;
