-- The group's signatures that the keys of payouts are made from (DERIVATION.md C1), recovered and verified under the group
-- key of the payout's place in the order. A secret of the members: who has one can block that attempt. Losing a row costs
-- nothing, for t members make it again.
create table seeds (
    trace blob not null,
    attempt integer not null,
    group_key blob not null,
    signature blob not null,
    primary key (trace, attempt, group_key)
) strict, without rowid;
