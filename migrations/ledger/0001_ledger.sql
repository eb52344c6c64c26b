-- The embedded ledger of a development network. Hashes, keys and identifiers are lower-case hex or UUID text; amounts are
-- decimal text with eight places; times are nanoseconds since 1970; lists are JSON arrays.

create table meta (
    name  text primary key,
    value text not null
) strict, without rowid;

create table asset (
    kernel_id text primary key,
    uuid      text not null unique,
    chain     text not null,
    symbol    text not null,
    name      text not null
) strict, without rowid;

create table user (
    id             text primary key,
    session        text not null unique,
    session_public text not null,
    spend_public   text not null,
    name           text not null,
    created_at     integer not null
) strict, without rowid;

-- Tokens that were used, until they would be refused as stale anyway.
create table token (
    jti       text primary key,
    forget_at integer not null
) strict, without rowid;
create index token_forget on token (forget_at);

-- Answers of the key service, so that the same question has the same answer.
create table ghost (
    scope     text not null,
    hint      text not null,
    position  integer not null,
    receivers text not null,
    mask      text not null,
    keys      text not null,
    primary key (scope, hint, position)
) strict, without rowid;

create table ghost_key (
    key      text primary key,
    user     text not null references user (id),
    mask     text not null,
    position integer not null
) strict, without rowid;

-- The kernel: transactions that were admitted, their outputs, and what they lock.
create table kernel_transaction (
    number      integer primary key autoincrement,
    hash        text not null unique,
    raw         text not null,
    admitted_at integer not null,
    final_at    integer not null,
    snapshot    text,
    snapshot_at integer
) strict;
create index kernel_transaction_open on kernel_transaction (final_at, number) where snapshot is null;

create table kernel_output (
    hash      text not null,
    position  integer not null,
    kind      integer not null,
    asset     text not null,
    amount    text not null,
    keys      text not null,
    mask      text not null,
    script    text not null,
    locked_by text,
    primary key (hash, position)
) strict, without rowid;

create table kernel_key (
    key  text primary key,
    hash text not null
) strict, without rowid;

create table kernel_deposit (
    key           text primary key,
    hash          text not null unique,
    "transaction" text not null,
    position      integer not null
) strict, without rowid;

-- What the API lists. A row appears when its transaction is final; sequence is global, ascending, with gaps.
create table output (
    sequence          integer primary key,
    id                text not null unique,
    hash              text not null,
    position          integer not null,
    asset             text not null,
    amount            text not null,
    keys              text not null,
    mask              text not null,
    members_hash      text not null,
    receivers         text not null,
    threshold         integer not null,
    senders           text not null,
    senders_threshold integer not null,
    extra             text not null,
    inscription       text,
    request           text,
    state             text not null check (state in ('unspent', 'signed', 'spent')),
    signers           text not null,
    signed_by         text,
    signed_at         integer,
    spent_at          integer,
    created_at        integer not null,
    updated_at        integer not null,
    unique (hash, position)
) strict;
create index output_members on output (members_hash, sequence);

create table request (
    id          text primary key,
    kind        text not null check (kind in ('single', 'multisig')),
    hash        text not null,
    raw         text not null,
    creator     text not null,
    asset       text not null,
    amount      text not null,
    extra       text not null,
    senders     text not null,
    threshold   integer not null,
    receivers   text not null,
    signers     text not null,
    inscription text,
    state       text not null check (state in ('unspent', 'signed', 'spent')),
    revoked_by  text,
    created_at  integer not null,
    updated_at  integer not null,
    snapshot    text,
    snapshot_at integer
) strict, without rowid;
create index request_hash on request (hash, created_at);

-- Transactions that the API owes the kernel: written with the signature that completes them, sent afterwards.
create table broadcast (
    number     integer primary key autoincrement,
    request    text not null unique references request (id),
    raw        text not null,
    created_at integer not null,
    sent_at    integer,
    refusal    text
) strict;
create index broadcast_open on broadcast (number) where sent_at is null;

create table snapshot (
    id         text primary key,
    user       text not null references user (id),
    opponent   text,
    hash       text not null,
    asset      text not null,
    amount     text not null,
    memo       text not null,
    request    text,
    created_at integer not null
) strict, without rowid;
create index snapshot_user on snapshot (user, created_at);
