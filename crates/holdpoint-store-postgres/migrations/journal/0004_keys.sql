-- What all processes of this journal have to know alike. Whoever needs one first makes it, and it is kept: with another one
-- a question that was asked before would be a new one, and could be run again.
CREATE TABLE holdpoint.keys (
    name text PRIMARY KEY,
    key  bytea NOT NULL CHECK (length(key) = 32)
);

CREATE TRIGGER keys_are_kept BEFORE UPDATE OR DELETE ON holdpoint.keys FOR EACH ROW
EXECUTE FUNCTION holdpoint.refuse('a key is made once, and kept');
