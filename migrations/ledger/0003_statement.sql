-- A user's movements as the API shows them: with the asset's UUID, the deposit behind it, and the collectible that it moved,
-- which only a transaction of one output does.
create view statement as
    select snapshot.*, asset.uuid, output.inscription, kernel_deposit."transaction" as deposit_hash,
        kernel_deposit.position as deposit_index, kernel_deposit.sender, kernel_deposit.destination, kernel_deposit.tag
    from snapshot join asset on asset.kernel_id = snapshot.asset
        left join kernel_deposit on kernel_deposit.hash = snapshot.hash
        left join output on output.hash = snapshot.hash and output.position = 0;
