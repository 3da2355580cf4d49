-- Times are milliseconds since 1970-01-01T00:00:00 UTC on the appliance's clock.

-- What people call a case: one study of radiographs, one series of slices, or one file that belongs to neither.
CREATE TABLE cases (
    id           INTEGER PRIMARY KEY,
    number       TEXT NOT NULL UNIQUE,          -- 260314-0007, on screens and in files
    grouping     TEXT NOT NULL UNIQUE,          -- study:UID, series:UID or file:KEY
    kind         TEXT NOT NULL CHECK (kind IN ('study', 'series', 'single')),
    opened       INTEGER NOT NULL,
    received     INTEGER NOT NULL,              -- the last image
    changed      INTEGER NOT NULL,              -- the last result
    patient_name TEXT,                          -- as the privacy level lets it in
    patient_id   TEXT,
    accession    TEXT,
    sex          TEXT,
    age_years    REAL,
    modality     TEXT,
    body_part    TEXT,
    study_uid    TEXT,
    series_uid   TEXT,
    members      INTEGER NOT NULL DEFAULT 0,    -- images that ever belonged to it: the next one's number
    decision     TEXT,                          -- of the case: null before the first result
    label        TEXT,
    label_name   TEXT,
    code         TEXT,
    probability  REAL,
    suspicion    REAL,
    worst_image  INTEGER,
    worst_frame  INTEGER,
    model        TEXT,
    role         TEXT,
    latency_ms   REAL,                          -- last byte to display, of the last result that was measured
    acknowledged INTEGER,
    settled      INTEGER,                       -- when all that came had its result, and nothing came after it
    revision     INTEGER NOT NULL DEFAULT 0,    -- counts its changes: the clock may stand
    filed        INTEGER NOT NULL DEFAULT 0     -- whether its files beside the database are up to date
);
CREATE INDEX cases_by_change ON cases (changed);
CREATE INDEX cases_to_settle ON cases (received) WHERE settled IS NULL;
CREATE INDEX cases_to_file ON cases (id) WHERE filed = 0;
CREATE INDEX cases_to_see ON cases (decision) WHERE acknowledged IS NULL;

CREATE TABLE images (
    id                  INTEGER PRIMARY KEY,
    case_id             INTEGER NOT NULL REFERENCES cases (id) ON DELETE CASCADE,
    member              INTEGER NOT NULL,       -- its number in the case, from 1
    key                 TEXT NOT NULL UNIQUE,   -- SOP Instance UID, or sha256:DIGEST
    digest              BLOB NOT NULL,          -- SHA-256 of the data set, or of the file
    state               TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'no-model', 'failed')),
    urgent              INTEGER NOT NULL DEFAULT 0,
    received            INTEGER NOT NULL,
    finished            INTEGER,
    origin              TEXT NOT NULL,
    name                TEXT,                   -- the file's name, at privacy level full only
    file                TEXT,                   -- in images/; null once it is gone
    picture             TEXT,                   -- in pictures/
    picture_bytes       INTEGER,
    bytes               INTEGER NOT NULL,
    sop_class_uid       TEXT,
    transfer_syntax_uid TEXT,
    modality            TEXT,
    body_part           TEXT,
    view                TEXT,
    image_type          TEXT,
    instance_number     INTEGER,
    frames              INTEGER,
    interruptions       INTEGER NOT NULL DEFAULT 0,  -- examinations that the service did not survive
    faults              INTEGER NOT NULL DEFAULT 0,  -- examinations in which the model failed
    first_fault         INTEGER,
    problem             TEXT,
    latency_ms          REAL,
    UNIQUE (case_id, member)
);
CREATE INDEX images_with_file ON images (case_id) WHERE file IS NOT NULL AND state <> 'waiting';
CREATE INDEX images_waiting ON images (urgent DESC, id) WHERE state = 'waiting';

CREATE TABLE results (
    image_id    INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    frame       INTEGER NOT NULL,               -- from 0
    time        INTEGER NOT NULL,
    decision    TEXT NOT NULL CHECK (decision IN ('flagged', 'no-finding-flagged', 'uncertain', 'not-readable')),
    label       TEXT,
    label_name  TEXT,
    code        TEXT,
    probability REAL,
    suspicion   REAL,                           -- the highest probability as a share of its operating point
    model       TEXT NOT NULL,
    role        TEXT NOT NULL,
    finding     TEXT NOT NULL,                  -- docs/finding.schema.json
    PRIMARY KEY (image_id, frame)
) WITHOUT ROWID;

CREATE TABLE verdicts (
    id       INTEGER PRIMARY KEY,
    case_id  INTEGER NOT NULL REFERENCES cases (id) ON DELETE CASCADE,
    image_id INTEGER REFERENCES images (id) ON DELETE CASCADE,
    frame    INTEGER,
    verdict  TEXT NOT NULL CHECK (verdict IN ('agree', 'disagree')),
    time     INTEGER NOT NULL
);
CREATE INDEX verdicts_of_case ON verdicts (case_id);

-- What is to leave the appliance. Without ON DELETE CASCADE: a case with something unsent cannot be deleted.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY,
    case_id    INTEGER NOT NULL REFERENCES cases (id),
    image_id   INTEGER REFERENCES images (id),  -- null: it is about the whole series
    kind       TEXT NOT NULL CHECK (kind IN ('sc', 'sr', 'json')),
    state      TEXT NOT NULL CHECK (state IN ('owed', 'waiting', 'sent', 'parked', 'dropped')),
    object     TEXT UNIQUE,                     -- SOP Instance UID, or the JSON file's name; null while it is owed
    path       TEXT,                            -- in outbox/, while it waits or is parked
    attempts   INTEGER NOT NULL DEFAULT 0,
    next_try   INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,                            -- or what the archive remarked
    created    INTEGER NOT NULL,
    ended      INTEGER                          -- sent, parked or dropped
);
CREATE INDEX outbox_open ON outbox (state, next_try) WHERE state IN ('owed', 'waiting');
CREATE INDEX outbox_of_case ON outbox (case_id);

-- What the models of the results say about themselves, by the digest of their bundles.
CREATE TABLE models (
    digest   TEXT PRIMARY KEY,
    manifest TEXT NOT NULL,
    served   INTEGER NOT NULL                   -- the last time that it began to serve
) WITHOUT ROWID;

CREATE TABLE days (
    day  TEXT PRIMARY KEY,                      -- 260314
    last INTEGER NOT NULL                       -- the last number that was given
) WITHOUT ROWID;

CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Each row's hash covers the row and the hash before it.
CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    time     INTEGER NOT NULL,
    event    TEXT NOT NULL,
    subject  TEXT NOT NULL,
    detail   TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash     BLOB NOT NULL
);
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
    BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_keeps_content BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_appended BEFORE INSERT ON audit
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit)
    BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
