-- Effects that have a name, proposals that revise an earlier one, the reviewer's words.

ALTER TABLE holds ADD COLUMN revision INTEGER NOT NULL DEFAULT 0 CHECK (revision >= 0);
ALTER TABLE holds ADD COLUMN question BLOB CHECK (length(question) = 32);
ALTER TABLE holds ADD COLUMN effect TEXT;
ALTER TABLE holds ADD COLUMN words TEXT
    CHECK (words IS NULL OR state IN ('rejected', 'expired', 'cancelled', 'changes_requested', 'void'));
ALTER TABLE holds ADD COLUMN taken_up_by BLOB
    CHECK (taken_up_by IS NULL OR (length(taken_up_by) = 32 AND state = 'changes_requested'));

-- A revision of a thread is decided once, so it has one hold: a second one would run on the decision about the first.
DROP INDEX holds_of_thread;
CREATE UNIQUE INDEX holds_of_revision ON holds (task_id, thread_id, revision);

-- A thread's decision is about one call at a time.
CREATE UNIQUE INDEX holds_live_of_thread ON holds (task_id, thread_id)
    WHERE state IN ('pending', 'approved', 'dispatched', 'unknown') OR (state = 'done' AND delivered = 0);

CREATE INDEX holds_to_revise ON holds (task_id, principal, server, tool) WHERE state = 'changes_requested';
CREATE INDEX holds_withdrawn ON holds (changed_at) WHERE state = 'cancelled';

DROP TRIGGER holds_ended_is_final;
CREATE TRIGGER holds_ended_is_final BEFORE UPDATE ON holds
WHEN OLD.state IN ('rejected', 'expired', 'cancelled', 'void') OR OLD.delivered = 1
BEGIN SELECT RAISE(ABORT, 'an ended hold stays ended'); END;

-- The one thing that can still be said of it is which call revises it.
CREATE TRIGGER holds_taken_up_once BEFORE UPDATE ON holds
WHEN OLD.state = 'changes_requested' AND NOT (
    NEW.state = OLD.state
    AND NEW.words IS OLD.words
    AND NEW.claim_owner IS OLD.claim_owner AND NEW.claimed_at IS OLD.claimed_at
    AND NEW.taken_up_by IS NOT NULL AND NEW.taken_up_by = coalesce(OLD.taken_up_by, NEW.taken_up_by))
BEGIN SELECT RAISE(ABORT, 'an ended hold stays ended'); END;

CREATE TRIGGER holds_question_is_frozen BEFORE UPDATE OF revision, question, effect ON holds
BEGIN SELECT RAISE(ABORT, 'what a hold is about is never changed'); END;

-- Runs with an effect. Who has a name that is not void has it for good, or until somebody says that nothing happened.
CREATE TABLE effects (
    id          INTEGER PRIMARY KEY NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('taken', 'done', 'unknown', 'void')),
    name        TEXT NOT NULL,
    principal   TEXT NOT NULL,
    server      TEXT NOT NULL,
    tool        TEXT NOT NULL,
    digest      BLOB NOT NULL CHECK (length(digest) = 32),
    task_id     TEXT NOT NULL,
    thread_id   TEXT,
    hold_id     INTEGER UNIQUE REFERENCES holds (id),
    owner       TEXT NOT NULL,
    taken_at    INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    CHECK ((hold_id IS NULL) = (thread_id IS NULL))
) STRICT;

CREATE UNIQUE INDEX effects_had_once ON effects (server, name) WHERE state <> 'void';
CREATE INDEX effects_by_state ON effects (state, changed_at);

CREATE TRIGGER effects_start_taken BEFORE INSERT ON effects
WHEN NEW.state <> 'taken'
BEGIN SELECT RAISE(ABORT, 'an effect is taken first'); END;

CREATE TRIGGER effects_go_forward BEFORE UPDATE OF state ON effects
WHEN NOT ((OLD.state = 'taken' AND NEW.state IN ('done', 'unknown', 'void'))
    OR (OLD.state = 'unknown' AND NEW.state IN ('done', 'void')))
BEGIN SELECT RAISE(ABORT, 'what came of an effect is never taken back'); END;

CREATE TRIGGER effects_are_frozen BEFORE UPDATE OF name, principal, server, tool, digest, task_id, thread_id, hold_id,
    owner, taken_at ON effects
BEGIN SELECT RAISE(ABORT, 'whose effect it is is never changed'); END;
