-- The group's signatures that private processes see senders under (DERIVATION.md A), by the group key of the first use's place
-- in the order. A row without a signature is a sender that this member met in a payment that it read, settled and verified: it
-- gives others its part of the mask. A signature is verified, and never changes. Outputs that were applied cannot be applied again
-- without theirs.
create table masks (
    process blob not null,
    account blob not null,
    group_key blob not null,
    signature blob,
    primary key (process, account, group_key)
) strict, without rowid;
