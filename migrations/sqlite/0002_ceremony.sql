-- Ceremonies that this member's operator approved: each by the digest of its proposal, which is kept as it was written.
-- `progress` is for people, `outcome` stands once the ceremony has ended.
create table ceremonies (
    digest blob primary key,
    generation integer not null,
    round integer not null unique,
    proposal text not null,
    approved_at integer not null,
    progress text,
    outcome text
) strict, without rowid;

-- What a ceremony resumes from, in order. What is secret in them is sealed to the member's identity key.
create table ceremony_records (
    ceremony blob not null references ceremonies (digest),
    position integer not null,
    body blob not null,
    primary key (ceremony, position)
) strict, without rowid;

-- What this member has said in a ceremony, for all participants or for one: served when they ask.
create table ceremony_items (
    ceremony blob not null references ceremonies (digest),
    position integer not null,
    receiver blob,
    body blob not null,
    primary key (ceremony, position)
) strict, without rowid;
