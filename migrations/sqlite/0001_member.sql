-- One member's store. Every promise is a row here before it is a byte on a wire.
-- Hashes, ids and keys are blobs; amounts and bodies are canonical JSON of the core's own types.

-- What this database belongs to: refused with another group or member.
create table identity (
    name text primary key,
    value blob not null
) strict, without rowid;

-- The ledger's outputs in the order in which they were applied: the input of a replay.
create table outputs (
    position integer primary key,
    id blob not null unique,
    sequence integer not null,
    body text not null
) strict;
create index outputs_sequence on outputs (sequence);

-- How each output ended, first match of DERIVATION.md A1..A7.
create table classes (
    output blob primary key,
    sequence integer not null,
    class text not null
) strict, without rowid;
create index classes_class on classes (class, sequence);

-- One row for every applied sequence: what a checkpoint of it says.
create table steps (
    sequence integer primary key,
    history blob not null,
    root blob not null,
    leaves integer not null
) strict;

-- Frontier nodes by version: the newest at or before a sequence is the node at that sequence.
create table nodes (
    level integer not null,
    place integer not null,
    sequence integer not null,
    hash blob not null,
    primary key (level, place, sequence)
) strict, without rowid;

-- Mailboxes in the order of their leaves.
create table mailboxes (
    leaf integer primary key,
    process blob not null unique,
    chain integer not null,
    address blob not null,
    gas integer not null
) strict;
create index mailboxes_chain on mailboxes (chain, leaf);

create table messages (
    process blob not null,
    nonce integer not null,
    sequence integer not null,
    head blob not null,
    record blob not null,
    primary key (process, nonce)
) strict, without rowid;
create index messages_head on messages (process, head);
create index messages_sequence on messages (process, sequence);

-- Final records of each chain in their order: the other input of a replay.
create table records (
    chain integer not null,
    position integer not null,
    body text not null,
    primary key (chain, position)
) strict, without rowid;

create table chain_cursors (
    chain integer primary key,
    body text not null
) strict;

-- Checkpoints this member has spoken for. A second digest for one sequence is a contradiction.
create table checkpoint_guards (
    sequence integer primary key,
    digest blob not null
) strict;

-- Recovered group signatures.
create table checkpoint_signatures (
    sequence integer primary key,
    signature blob not null
) strict;

-- Derived transactions, in the order of their derivation. Attempts hold the payload in hand and the proof of each dead
-- one (DERIVATION.md C5); there are none before the first payload.
create table derived (
    position integer primary key,
    trace blob not null unique,
    body text not null,
    attempt integer not null default 0,
    attempts text,
    final_hash blob
) strict;
create index derived_open on derived (position) where final_hash is null;

-- The bytes of a derived transaction at one attempt; they exist once its inputs are final.
create table payloads (
    trace blob not null,
    attempt integer not null,
    hash blob not null,
    raw blob not null,
    primary key (trace, attempt)
) strict, without rowid;

-- Which payload a coin may be spent by (DERIVATION.md C2). Written before the first signature over the coin exists.
create table coin_guards (
    coin_hash blob not null,
    coin_index integer not null,
    payload_hash blob not null,
    trace blob not null,
    attempt integer not null,
    primary key (coin_hash, coin_index)
) strict, without rowid;
create index coin_guards_payload on coin_guards (payload_hash);

-- What turns this member's spend key into its key of a coin: kept, for the ledger's API may be down or locked when the
-- coin is to be signed for again. Worthless without the spend key, but it tells whose coins are whose.
create table coin_views (
    coin_hash blob not null,
    coin_index integer not null,
    scalar blob not null,
    primary key (coin_hash, coin_index)
) strict, without rowid;

-- This member's own signatures over a payload, one for each input.
create table payload_signatures (
    trace blob not null,
    attempt integer not null,
    input integer not null,
    key_index integer not null,
    signature blob not null,
    primary key (trace, attempt, input)
) strict, without rowid;

-- Outbounds that were parked for good, for the alarm.
create table parked (
    chain integer not null,
    k integer not null,
    primary key (chain, k)
) strict, without rowid;

-- Transactions sent to a chain, by account nonce; the body is the submitter's own.
create table submissions (
    chain integer not null,
    account_nonce integer not null,
    body text not null,
    outcome text,
    primary key (chain, account_nonce)
) strict, without rowid;
