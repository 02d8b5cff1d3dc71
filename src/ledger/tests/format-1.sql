-- A ledger as the first format left it: one run, stopped in the middle. Built by SQL, so that it stays what it was.
PRAGMA application_id = 1936549740;
PRAGMA user_version = 1;
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
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
INSERT INTO "account" VALUES('day','google','2026-01-31',6,'0.003','0.001','0.001',0);
INSERT INTO "account" VALUES('month','google','2026-01',6,'0.003','0.001','0.001',0);
INSERT INTO "account" VALUES('run','','1',6,'0.003','0.001','0.001',0);
CREATE TABLE answer (
    attempt INTEGER PRIMARY KEY REFERENCES attempt ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;
INSERT INTO "answer" VALUES(1,X'015BF54743EAFF3F664400000007A10005240038636174270017393F00566F746865721D0060302E317D5D7D');
INSERT INTO "answer" VALUES(5,X'01A3CA6704B6B47BAF4600000007A10005240058636C65616E290017394100566F746865721D0060302E317D5D7D');
INSERT INTO "answer" VALUES(6,X'014B058B960286AF370D00000003A1006073223A5B5D7D');
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
INSERT INTO "attempt" VALUES(1,1,0,1,1769817601000,20484,'0.001',1,'answered',200,12000,NULL);
INSERT INTO "attempt" VALUES(2,1,1,1,1769817601000,20484,'0.001',3,'transient',200,12000,'connection reset');
INSERT INTO "attempt" VALUES(3,1,1,1,1769817601000,20484,'0.001',2,'transient',200,12000,'connection reset');
INSERT INTO "attempt" VALUES(4,1,2,1,1769817601000,20484,'0.001',0,NULL,NULL,NULL,NULL);
INSERT INTO "attempt" VALUES(5,1,-1,1,1769817601000,20484,'0.001',1,'answered',200,12000,NULL);
INSERT INTO "attempt" VALUES(6,2,0,1,1769817601000,20484,'0.001',1,'answered',200,12000,NULL);
CREATE TABLE certificate (
    picture INTEGER PRIMARY KEY REFERENCES picture ON DELETE CASCADE,
    text TEXT NOT NULL,
    stored INTEGER NOT NULL
) STRICT;
INSERT INTO "certificate" VALUES(2,'{"radius":0.5}',1769817601000);
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    latest_day INTEGER NOT NULL
) STRICT;
INSERT INTO "clock" VALUES(1,20484);
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
INSERT INTO "draw" VALUES(1,-1,X'0000000000000000000000000000000000000000000000000000000000000000',5,NULL,NULL,NULL);
INSERT INTO "draw" VALUES(1,0,X'0000000000000000000000000000000000000000000000000000000000000000',1,NULL,NULL,NULL);
INSERT INTO "draw" VALUES(1,1,X'0101010101010101010101010101010101010101010101010101010101010101',NULL,'transient','connection reset',NULL);
INSERT INTO "draw" VALUES(1,2,X'0202020202020202020202020202020202020202020202020202020202020202',NULL,NULL,NULL,NULL);
INSERT INTO "draw" VALUES(2,0,X'0000000000000000000000000000000000000000000000000000000000000000',6,NULL,NULL,NULL);
CREATE TABLE picture (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,             -- canonical JSON: hash, working size, ...
    seed BLOB NOT NULL,
    UNIQUE (run, name)
) STRICT;
INSERT INTO "picture" VALUES(1,1,'a.png','{"hash":5,"size":224}',X'0707070707070707070707070707070707070707070707070707070707070707');
INSERT INTO "picture" VALUES(2,1,'bb.png','{"hash":6,"size":224}',X'0707070707070707070707070707070707070707070707070707070707070707');
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
INSERT INTO "run" VALUES(1,X'86545FE25A16C45BFF689748D40DC0BA3CDA339575491E306A92B10877E956E3','{"sigma":0.25,"test":{"n":100,"name":"cohen"}}','{"paths":["pictures"]}','google',100,'5',2,1769817601000,NULL);
CREATE INDEX run_by_key ON run (key);
CREATE INDEX attempt_by_draw ON attempt (picture, draw);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('run',1);
COMMIT;
