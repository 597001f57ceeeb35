-- What callers got that do not wait. Each belongs to one principal at one server, and is forgotten once it has expired.
CREATE TABLE holdpoint.tickets (
    id          text PRIMARY KEY,
    state       text NOT NULL CHECK (state IN ('open', 'answered', 'continuing', 'cancelled')),
    round       bigint NOT NULL DEFAULT 0 CHECK (round BETWEEN 0 AND 4294967295),
    principal   text NOT NULL,
    server      text NOT NULL,
    hold_id     bigint NOT NULL REFERENCES holdpoint.holds (id),
    request     bytea NOT NULL,
    answer      bytea,
    owner       text,
    opened_at   bigint NOT NULL,
    changed_at  bigint NOT NULL,
    expires_at  bigint NOT NULL,
    CHECK (state <> 'open' OR (round = 0 AND answer IS NULL)),
    CHECK (state <> 'answered' OR answer IS NOT NULL),
    CHECK ((state = 'continuing') = (owner IS NOT NULL))
);

CREATE INDEX tickets_by_expiry ON holdpoint.tickets (expires_at);
CREATE INDEX tickets_of_hold ON holdpoint.tickets (hold_id);

CREATE TRIGGER tickets_start_open BEFORE INSERT ON holdpoint.tickets FOR EACH ROW
WHEN (NEW.state <> 'open')
EXECUTE FUNCTION holdpoint.refuse('a ticket is opened first');

-- Every step is a round of its own, from where it may start.
CREATE TRIGGER tickets_go_forward BEFORE UPDATE ON holdpoint.tickets FOR EACH ROW
WHEN (NEW.round <> OLD.round + 1
    OR NOT ((OLD.state IN ('open', 'continuing') AND NEW.state = 'answered')
        OR (OLD.state = 'answered' AND NEW.state = 'continuing')
        OR (OLD.state IN ('open', 'answered') AND NEW.state = 'cancelled')))
EXECUTE FUNCTION holdpoint.refuse('a ticket makes the steps of its diagram');

CREATE TRIGGER tickets_are_frozen BEFORE UPDATE OF id, principal, server, hold_id, request, opened_at
    ON holdpoint.tickets FOR EACH ROW
EXECUTE FUNCTION holdpoint.refuse('what a ticket is about is never changed');
