-- Who runs this member, and how far its promises go.

-- The process that may make promises. Its token rises with each holder, and is checked in the transaction of each promise:
-- a process that slept while another took the lease cannot commit.
create table lease (
    id integer primary key check (id = 1),
    token integer not null,
    holder text,
    since_ms integer not null,
    beat_ms integer not null
) strict;

-- The last promise: its number, the hash of the chain of all, and the lines that the guard log must end with.
create table guard_head (
    id integer primary key check (id = 1),
    count integer not null,
    hash blob not null,
    lines text not null,
    checkpoint integer not null,
    coins integer not null
) strict;

-- The furthest guard head of each member that was seen, signed by it; this member's own as peers show it.
create table guard_seen (
    identity blob primary key,
    count integer not null,
    body text not null,
    own integer not null default 0
) strict, without rowid;

-- Restores of an older database that the operator took upon itself.
create table restores (
    position integer primary key,
    at_ms integer not null,
    from_count integer not null,
    to_count integer not null,
    reason text not null
) strict;
