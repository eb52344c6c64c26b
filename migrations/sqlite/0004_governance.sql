-- What operators propose and approve, and what this member signs of it.

-- Proposals that this member has seen, by the digest that the group would sign. `slot` is the number or nonce that each
-- would take up for ever.
create table proposals (
    digest blob primary key,
    slot text not null,
    subject text not null,
    seen_at integer not null,
    approved_at integer,
    signature blob,
    signed_with blob,
    submission text
) strict, without rowid;
create index proposals_slot on proposals (slot);

-- Members that said they approve, as far as this member was told.
create table proposal_approvals (
    digest blob not null,
    member integer not null,
    primary key (digest, member)
) strict, without rowid;

-- What this member signed for a number or nonce. Written before the first partial signature exists; a second digest is
-- refused.
create table governance_guards (
    slot text primary key,
    digest blob not null
) strict, without rowid;

-- The member's own switch, each turn of it with its reason; the last one holds. Checked wherever a guard is written.
create table signing_switch (
    position integer primary key,
    at integer not null,
    stopped integer not null,
    reason text not null
) strict;
