-- Instants are microseconds since 1970. Checks forbid every row the program's types cannot hold.

CREATE TABLE agents (
    id            INTEGER PRIMARY KEY NOT NULL,
    name          TEXT NOT NULL UNIQUE CHECK (name <> ''),
    key_hash      BLOB NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    key_hint      TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('active', 'paused', 'revoked')),
    signed_tokens INTEGER NOT NULL CHECK (signed_tokens IN (0, 1)),
    token_ttl     INTEGER CHECK (token_ttl > 0),
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TRIGGER agents_revoked_is_final BEFORE UPDATE ON agents WHEN OLD.state = 'revoked'
BEGIN SELECT RAISE(ABORT, 'a revoked agent stays revoked'); END;

CREATE TABLE declarations (
    revision    INTEGER PRIMARY KEY NOT NULL CHECK (revision > 0),
    declaration TEXT NOT NULL CHECK (json_valid(declaration)),
    applied_by  TEXT NOT NULL,
    applied_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE threads (
    seq              INTEGER PRIMARY KEY NOT NULL,
    id               TEXT NOT NULL UNIQUE CHECK (id <> ''),
    agent_id         INTEGER NOT NULL REFERENCES agents (id),
    task_id          TEXT NOT NULL CHECK (task_id <> ''),
    state            TEXT NOT NULL CHECK (state IN ('needs_review', 'escalated', 'approved', 'rejected', 'expired')),
    opened_at        INTEGER NOT NULL,
    expires_at       INTEGER,
    current_revision TEXT NOT NULL,
    feedback         TEXT,
    closed_at        INTEGER,
    decider          TEXT CHECK (decider IN ('person', 'rules')),
    decided_by       TEXT,
    note             TEXT,
    decided_revision TEXT,
    FOREIGN KEY (id, current_revision) REFERENCES revisions (thread_id, id) DEFERRABLE INITIALLY DEFERRED,
    CHECK ((state IN ('needs_review', 'escalated')) = (closed_at IS NULL)),
    CHECK ((state IN ('approved', 'rejected')) = (decider IS NOT NULL)),
    CHECK ((state IN ('approved', 'rejected')) = (decided_revision IS NOT NULL)),
    CHECK ((decider IS 'person') = (decided_by IS NOT NULL)),
    CHECK (decider IS NOT NULL OR note IS NULL),
    CHECK (state <> 'approved' OR decider = 'person'),
    CHECK (decided_revision IS NULL OR decided_revision = current_revision)
) STRICT;

CREATE INDEX threads_by_task ON threads (agent_id, task_id, seq);
CREATE INDEX threads_by_state ON threads (state, seq);
CREATE INDEX threads_by_expiry ON threads (expires_at) WHERE closed_at IS NULL AND expires_at IS NOT NULL;

CREATE TRIGGER threads_closed_is_final BEFORE UPDATE ON threads WHEN OLD.closed_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a decided thread stays decided'); END;

CREATE TABLE revisions (
    thread_id      TEXT NOT NULL REFERENCES threads (id) DEFERRABLE INITIALLY DEFERRED,
    id             TEXT NOT NULL CHECK (id <> ''),
    number         INTEGER NOT NULL CHECK (number > 0),
    body_digest    BLOB CHECK (length(body_digest) = 32),
    workflow_name  TEXT NOT NULL,
    task_label     TEXT NOT NULL,
    tool_name      TEXT NOT NULL,
    subject        TEXT NOT NULL,
    preview        TEXT,
    risk_level     TEXT CHECK (risk_level IN ('low', 'medium', 'high', 'critical')),
    summary        TEXT NOT NULL CHECK (json_valid(summary)),
    payload        TEXT NOT NULL,
    payload_digest TEXT NOT NULL CHECK (payload_digest LIKE 'sha256:%'),
    rule_trace     TEXT NOT NULL,
    made_at        INTEGER NOT NULL,
    PRIMARY KEY (thread_id, id),
    UNIQUE (thread_id, number),
    CHECK ((number = 1) = (body_digest IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER revisions_stay BEFORE UPDATE ON revisions
BEGIN SELECT RAISE(ABORT, 'a revision is never changed'); END;

CREATE TABLE log (
    seq       INTEGER PRIMARY KEY NOT NULL,
    at        INTEGER NOT NULL,
    agent_id  INTEGER REFERENCES agents (id),
    task_id   TEXT,
    thread_id TEXT REFERENCES threads (id) DEFERRABLE INITIALLY DEFERRED,
    kind      TEXT NOT NULL,
    entry     TEXT NOT NULL,
    CHECK (task_id IS NULL OR agent_id IS NOT NULL),
    CHECK (thread_id IS NULL OR task_id IS NOT NULL)
) STRICT;

CREATE INDEX log_by_task ON log (task_id, agent_id, seq) WHERE task_id IS NOT NULL;

CREATE TRIGGER log_is_not_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_is_not_deleted BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

CREATE TABLE images (
    id          INTEGER PRIMARY KEY NOT NULL,
    event_seq   INTEGER REFERENCES log (seq),
    thread_id   TEXT,
    revision_id TEXT,
    media_type  TEXT NOT NULL CHECK (media_type IN ('image/png', 'image/jpeg', 'image/gif', 'image/webp')),
    bytes       BLOB NOT NULL,
    FOREIGN KEY (thread_id, revision_id) REFERENCES revisions (thread_id, id) DEFERRABLE INITIALLY DEFERRED,
    CHECK ((thread_id IS NULL) = (revision_id IS NULL)),
    CHECK ((event_seq IS NULL) <> (thread_id IS NULL))
) STRICT;

CREATE INDEX images_by_event ON images (event_seq) WHERE event_seq IS NOT NULL;
CREATE INDEX images_by_revision ON images (thread_id, revision_id) WHERE thread_id IS NOT NULL;

CREATE TABLE idempotency (
    agent_id    INTEGER NOT NULL REFERENCES agents (id),
    key         TEXT NOT NULL,
    body_digest BLOB NOT NULL CHECK (length(body_digest) = 32),
    answer      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (agent_id, key)
) STRICT, WITHOUT ROWID;

-- One row per approved thread: a newer token replaces the older one's hash, and so revokes it.
CREATE TABLE tokens (
    thread_id       TEXT PRIMARY KEY NOT NULL REFERENCES threads (id),
    hash            BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    first_minted_at INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    spent_at        INTEGER,
    CHECK (expires_at > first_minted_at),
    CHECK (spent_at IS NULL OR spent_at < expires_at)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER tokens_spent_is_final BEFORE UPDATE ON tokens WHEN OLD.spent_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a spent token stays spent'); END;

CREATE TABLE users (
    id            INTEGER PRIMARY KEY NOT NULL,
    name          TEXT NOT NULL UNIQUE CHECK (name <> ''),
    password_hash TEXT,
    role          TEXT NOT NULL CHECK (role IN ('admin', 'reviewer')),
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE sign_in_links (
    hash       BLOB PRIMARY KEY NOT NULL CHECK (length(hash) = 32),
    user_id    INTEGER NOT NULL REFERENCES users (id),
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY NOT NULL CHECK (length(hash) = 32),
    user_id    INTEGER NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id);
