-- What callers got that do not wait. Each belongs to one principal at one server, and is forgotten once it has expired.
CREATE TABLE tickets (
    id          TEXT PRIMARY KEY NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('open', 'answered', 'continuing', 'cancelled')),
    round       INTEGER NOT NULL DEFAULT 0 CHECK (round BETWEEN 0 AND 4294967295),
    principal   TEXT NOT NULL,
    server      TEXT NOT NULL,
    hold_id     INTEGER NOT NULL REFERENCES holds (id),
    request     BLOB NOT NULL,
    answer      BLOB,
    owner       TEXT,
    opened_at   INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    CHECK (state <> 'open' OR (round = 0 AND answer IS NULL)),
    CHECK (state <> 'answered' OR answer IS NOT NULL),
    CHECK ((state = 'continuing') = (owner IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX tickets_by_expiry ON tickets (expires_at);
CREATE INDEX tickets_of_hold ON tickets (hold_id);

CREATE TRIGGER tickets_start_open BEFORE INSERT ON tickets
WHEN NEW.state <> 'open'
BEGIN SELECT RAISE(ABORT, 'a ticket is opened first'); END;

-- Every step is a round of its own, from where it may start.
CREATE TRIGGER tickets_go_forward BEFORE UPDATE ON tickets
WHEN NEW.round <> OLD.round + 1
    OR NOT ((OLD.state IN ('open', 'continuing') AND NEW.state = 'answered')
        OR (OLD.state = 'answered' AND NEW.state = 'continuing')
        OR (OLD.state IN ('open', 'answered') AND NEW.state = 'cancelled'))
BEGIN SELECT RAISE(ABORT, 'a ticket makes the steps of its diagram'); END;

CREATE TRIGGER tickets_are_frozen BEFORE UPDATE OF id, principal, server, hold_id, request, opened_at ON tickets
BEGIN SELECT RAISE(ABORT, 'what a ticket is about is never changed'); END;
