-- Shares of the group's key that this member has erased from its key file. The row is begun before the file is replaced and
-- ended after it, so a share that a crash left, or that a backup of the key file brought back, is erased again at the next
-- start. `roster` and `sequence`: the generation that made the first signature alone, and the checkpoint that it signed.
create table erasures (
    generation integer primary key,
    group_key blob not null,
    roster blob not null,
    sequence integer not null,
    begun_at_ms integer not null,
    ended_at_ms integer
) strict;
