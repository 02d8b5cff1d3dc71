-- Format 1 of the ledger. Times are milliseconds since 1970-01-01 UTC, amounts decimal text in US dollars.

-- One row: the latest UTC day on which anything was recorded, in days since 1970-01-01. Budgets of a day or a month
-- never go back behind it.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    latest_day INTEGER NOT NULL
) STRICT;

-- Numbers are never used again: the lock of a run is a file of that number.
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL,              -- BLAKE3 of spec
    spec TEXT NOT NULL,             -- canonical JSON: every parameter that decides a certificate
    arguments TEXT NOT NULL,        -- JSON: what the command needs to start again
    instance TEXT NOT NULL,         -- the provider instance that is charged
    max_calls INTEGER,
    max_cost TEXT,
    pictures INTEGER,               -- how many are expected
    begun INTEGER NOT NULL,
    finished INTEGER
) STRICT;
CREATE INDEX run_by_key ON run (key);

CREATE TABLE picture (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,             -- canonical JSON: hash, working size, ...
    seed BLOB NOT NULL,
    UNIQUE (run, name)
) STRICT;

-- A draw that was asked for. Draw -1 is the clean answer, which is no vote. It is settled once attempt (its answer) or
-- class (given up as this failure) is set.
CREATE TABLE draw (
    picture INTEGER NOT NULL REFERENCES picture ON DELETE CASCADE,
    draw INTEGER NOT NULL,
    bytes BLOB,                     -- BLAKE3 of the encoded picture
    attempt INTEGER,
    class TEXT,
    reason TEXT,
    retry_after INTEGER,
    PRIMARY KEY (picture, draw)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    picture INTEGER NOT NULL REFERENCES picture ON DELETE CASCADE,
    draw INTEGER NOT NULL,
    number INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    day INTEGER NOT NULL,           -- the UTC day it is charged to
    price TEXT,                     -- NULL: unknown
    standing INTEGER NOT NULL,      -- 0 open, 1 billed, 2 unknown, 3 not billed, 4 never left
    class TEXT,
    status INTEGER,
    latency INTEGER,                -- microseconds
    reason TEXT
) STRICT;
CREATE INDEX attempt_by_draw ON attempt (picture, draw);

CREATE TABLE answer (
    attempt INTEGER PRIMARY KEY REFERENCES attempt ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE certificate (
    picture INTEGER PRIMARY KEY REFERENCES picture ON DELETE CASCADE,
    text TEXT NOT NULL,
    stored INTEGER NOT NULL
) STRICT;

-- What was spent, by run, and by provider instance for each UTC day and month. Outlives the runs.
CREATE TABLE account (
    kind TEXT NOT NULL,             -- run, day or month
    instance TEXT NOT NULL,
    period TEXT NOT NULL,
    calls INTEGER NOT NULL,
    billed TEXT NOT NULL,
    unknown TEXT NOT NULL,
    reserved TEXT NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (kind, instance, period)
) STRICT, WITHOUT ROWID;
