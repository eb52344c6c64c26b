-- What a ledger needs that can list rows apart from finality, hold rows back, and have kernel nodes that disagree.

-- list_at: when the outputs are listed; with finality where it is null. listed: whether they were. held_at: the kernel node that
-- keeps the transaction to itself while nodes are split; null is all of them.
alter table kernel_transaction add column list_at integer;
alter table kernel_transaction add column listed integer not null default 0;
alter table kernel_transaction add column held_at integer;
update kernel_transaction set listed = 1 where snapshot is not null;
create index kernel_transaction_unlisted on kernel_transaction (list_at, number) where listed = 0;

-- Locks of coins at single nodes while nodes are split.
create table kernel_split (
    hash     text not null,
    position integer not null,
    node     integer not null,
    payload  text not null,
    primary key (hash, position, node)
) strict, without rowid;

-- Outputs that a fault keeps from being listed, until it is cleared.
create table withheld (
    hash     text not null,
    position integer not null,
    fault    integer not null,
    primary key (hash, position)
) strict, without rowid;

-- Where a deposit came from on its own chain.
alter table kernel_deposit add column sender text not null default '';
alter table kernel_deposit add column destination text not null default '';
alter table kernel_deposit add column tag text not null default '';
