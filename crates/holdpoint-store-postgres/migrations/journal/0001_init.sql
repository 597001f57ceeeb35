-- The middleware's record of holds and of runs with an effect. Instants are microseconds since 1970.
-- The rules are those of the SQLite journal.

CREATE FUNCTION holdpoint.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION holdpoint.is_live(state text, delivered boolean) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN state IN ('pending', 'approved', 'dispatched', 'unknown') OR (state = 'done' AND NOT delivered);

CREATE TABLE holdpoint.holds (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    state       text NOT NULL CHECK (state IN ('pending', 'approved', 'dispatched', 'done', 'unknown', 'rejected',
                    'expired', 'cancelled', 'changes_requested', 'void')),
    principal   text NOT NULL,
    server      text NOT NULL,
    tool        text NOT NULL,
    digest      bytea NOT NULL CHECK (length(digest) = 32),
    task_id     text NOT NULL,
    thread_id   text NOT NULL,
    revision    bigint NOT NULL CHECK (revision BETWEEN 0 AND 4294967295),
    binding     text NOT NULL,
    review_url  text,
    arguments   text,
    definition  bytea CHECK (length(definition) = 32),
    policy      text NOT NULL,
    question    bytea NOT NULL CHECK (length(question) = 32),
    effect      text,
    opened_at   bigint NOT NULL,
    changed_at  bigint NOT NULL,
    claim_owner text,
    claimed_at  bigint,
    result      bytea,
    delivered   boolean NOT NULL DEFAULT false,
    words       text,
    taken_up_by bytea CHECK (length(taken_up_by) = 32),
    CHECK ((claim_owner IS NULL) = (claimed_at IS NULL)),
    CHECK (state <> 'pending' OR claim_owner IS NULL),
    CHECK (state NOT IN ('approved', 'dispatched', 'done', 'unknown') OR claim_owner IS NOT NULL),
    CHECK (result IS NULL OR (state = 'done' AND NOT delivered)),
    CHECK (NOT delivered OR state = 'done'),
    CHECK (words IS NULL OR state IN ('rejected', 'expired', 'cancelled', 'changes_requested', 'void')),
    CHECK (taken_up_by IS NULL OR state = 'changes_requested')
);

-- At most one live hold per call, whichever process opens it.
CREATE UNIQUE INDEX holds_live ON holdpoint.holds (digest, principal, server, tool)
    WHERE holdpoint.is_live(state, delivered);

CREATE INDEX holds_by_digest ON holdpoint.holds (digest);

-- A revision of a thread is decided once, so it has one hold: a second one would run on the decision about the first.
CREATE UNIQUE INDEX holds_of_revision ON holdpoint.holds (task_id, thread_id, revision);

-- A thread's decision is about one call at a time.
CREATE UNIQUE INDEX holds_live_of_thread ON holdpoint.holds (task_id, thread_id)
    WHERE holdpoint.is_live(state, delivered);

CREATE INDEX holds_to_revise ON holdpoint.holds (task_id, principal, server, tool) WHERE state = 'changes_requested';
CREATE INDEX holds_withdrawn ON holdpoint.holds (changed_at) WHERE state = 'cancelled';

CREATE TRIGGER holds_ended_is_final BEFORE UPDATE ON holdpoint.holds FOR EACH ROW
WHEN (OLD.state IN ('rejected', 'expired', 'cancelled', 'void') OR OLD.delivered)
EXECUTE FUNCTION holdpoint.refuse('an ended hold stays ended');

-- The one thing that can still be said of it is which call revises it.
CREATE TRIGGER holds_taken_up_once BEFORE UPDATE ON holdpoint.holds FOR EACH ROW
WHEN (OLD.state = 'changes_requested' AND NOT (
    NEW.state = OLD.state
    AND NEW.words IS NOT DISTINCT FROM OLD.words
    AND NEW.claim_owner IS NOT DISTINCT FROM OLD.claim_owner AND NEW.claimed_at IS NOT DISTINCT FROM OLD.claimed_at
    AND NEW.taken_up_by IS NOT NULL AND NEW.taken_up_by = coalesce(OLD.taken_up_by, NEW.taken_up_by)))
EXECUTE FUNCTION holdpoint.refuse('an ended hold stays ended');

-- What was asked about stays what was asked about.
CREATE TRIGGER holds_call_is_frozen BEFORE UPDATE OF principal, server, tool, digest, task_id, thread_id, revision,
    binding, review_url, arguments, definition, policy, question, effect, opened_at ON holdpoint.holds FOR EACH ROW
EXECUTE FUNCTION holdpoint.refuse('what a hold is about is never changed');

-- Runs with an effect. Who has a name that is not void has it for good, or until somebody says that nothing happened.
CREATE TABLE holdpoint.effects (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    state       text NOT NULL CHECK (state IN ('taken', 'done', 'unknown', 'void')),
    name        text NOT NULL,
    principal   text NOT NULL,
    server      text NOT NULL,
    tool        text NOT NULL,
    digest      bytea NOT NULL CHECK (length(digest) = 32),
    task_id     text NOT NULL,
    thread_id   text,
    hold_id     bigint UNIQUE REFERENCES holdpoint.holds (id),
    owner       text NOT NULL,
    taken_at    bigint NOT NULL,
    changed_at  bigint NOT NULL,
    CHECK ((hold_id IS NULL) = (thread_id IS NULL))
);

CREATE UNIQUE INDEX effects_had_once ON holdpoint.effects (server, name) WHERE state <> 'void';
CREATE INDEX effects_by_state ON holdpoint.effects (state, changed_at);

CREATE TRIGGER effects_start_taken BEFORE INSERT ON holdpoint.effects FOR EACH ROW
WHEN (NEW.state <> 'taken')
EXECUTE FUNCTION holdpoint.refuse('an effect is taken first');

CREATE TRIGGER effects_go_forward BEFORE UPDATE OF state ON holdpoint.effects FOR EACH ROW
WHEN (NOT ((OLD.state = 'taken' AND NEW.state IN ('done', 'unknown', 'void'))
    OR (OLD.state = 'unknown' AND NEW.state IN ('done', 'void'))))
EXECUTE FUNCTION holdpoint.refuse('what came of an effect is never taken back');

CREATE TRIGGER effects_are_frozen BEFORE UPDATE OF name, principal, server, tool, digest, task_id, thread_id, hold_id,
    owner, taken_at ON holdpoint.effects FOR EACH ROW
EXECUTE FUNCTION holdpoint.refuse('whose effect it is is never changed');
