-- Questions that are answered over several requests. Each is changed as a whole, from one round to the next. `number` is the
-- order in which they were opened.
CREATE TABLE holdpoint.operations (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          text NOT NULL UNIQUE,
    principal   text NOT NULL,
    task        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('asked', 'waiting', 'running', 'answered')),
    round       bigint NOT NULL DEFAULT 0 CHECK (round BETWEEN 0 AND 4294967295),
    thread      text,
    content     bytea NOT NULL,
    owner       text,
    opened_at   bigint NOT NULL,
    changed_at  bigint NOT NULL,
    expires_at  bigint NOT NULL,
    CHECK (state NOT IN ('waiting', 'running') OR owner IS NOT NULL)
);

CREATE INDEX operations_by_expiry ON holdpoint.operations (expires_at);
CREATE INDEX operations_of_thread ON holdpoint.operations (thread, principal, number) WHERE thread IS NOT NULL;
CREATE INDEX operations_of_task ON holdpoint.operations (task, principal, number);
CREATE INDEX operations_of_owner ON holdpoint.operations (owner, changed_at) WHERE owner IS NOT NULL;

CREATE TRIGGER operations_begin_at_the_beginning BEFORE INSERT ON holdpoint.operations FOR EACH ROW
WHEN (NEW.round <> 0)
EXECUTE FUNCTION holdpoint.refuse('an operation begins in round 0');

CREATE TRIGGER operations_go_forward BEFORE UPDATE ON holdpoint.operations FOR EACH ROW
WHEN (NEW.round <> OLD.round + 1)
EXECUTE FUNCTION holdpoint.refuse('an operation goes from one round to the next');

CREATE TRIGGER operations_are_frozen BEFORE UPDATE OF number, id, principal, task, opened_at
    ON holdpoint.operations FOR EACH ROW
EXECUTE FUNCTION holdpoint.refuse('whose an operation is never changes');
