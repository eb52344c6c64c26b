//! Writing transactions (kernel `common/encoding.go`).

use super::super::amount::Wide;
use super::super::encoding::{MAGIC, Writer};
use super::super::signature::Signature;
use super::{Input, Output, Signatures, Transaction, VERSION};

/// First count of a signature part that is aggregated (kernel `MaximumEncodingInt`).
pub(super) const AGGREGATED: u16 = 0xffff;
/// What follows it (kernel `AggregatedSignaturePrefix`).
pub(super) const AGGREGATED_PREFIX: u16 = 0xff01;
/// Signers as a list of indexes.
pub(super) const MASK_SPARSE: u8 = 1;
/// Signers as a bitmap, lowest bit first.
pub(super) const MASK_ORDINARY: u8 = 0;

pub(super) fn transaction(transaction: &Transaction, signatures: &Signatures) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.raw(&MAGIC);
    writer.u16(VERSION.into());
    writer.raw(&transaction.asset.0);
    writer.count(transaction.inputs.len());
    transaction.inputs.iter().for_each(|one| input(&mut writer, &transaction.wide, one));
    writer.count(transaction.outputs.len());
    transaction.outputs.iter().for_each(|one| output(&mut writer, &transaction.wide, one));
    writer.count(transaction.references.len());
    transaction.references.iter().for_each(|hash| writer.raw(hash.as_slice()));
    // Bounded by `Transaction::new` to 4 MiB.
    writer.u32(u32::try_from(transaction.extra.len()).unwrap_or(u32::MAX));
    writer.raw(&transaction.extra);
    match signatures {
        Signatures::Map(maps) => {
            writer.count(maps.len());
            for map in maps {
                writer.count(map.len());
                for (index, signature) in map {
                    writer.u16(*index);
                    writer.raw(&signature.0);
                }
            }
        }
        Signatures::Aggregated { signature, signers } => aggregated(&mut writer, signature, signers),
    }
    writer.into_bytes()
}

fn input(writer: &mut Writer, wide: &Wide, input: &Input) {
    writer.raw(input.coin.transaction.as_slice());
    writer.u16(input.coin.index);
    writer.bytes_u16(&input.genesis);
    writer.presence(input.deposit.is_some());
    if let Some(deposit) = &input.deposit {
        writer.raw(deposit.chain.as_slice());
        writer.bytes_u16(&deposit.asset_key);
        writer.bytes_u16(&deposit.transaction);
        writer.u64(deposit.index);
        wide.write(writer, deposit.amount);
    }
    writer.presence(input.mint.is_some());
    if let Some(mint) = &input.mint {
        writer.bytes_u16(&mint.group);
        writer.u64(mint.batch);
        wide.write(writer, mint.amount);
    }
}

fn output(writer: &mut Writer, wide: &Wide, output: &Output) {
    writer.u16(output.kind.0.into());
    wide.write(writer, output.amount);
    writer.count(output.keys.len());
    output.keys.iter().for_each(|key| writer.raw(&key.0));
    writer.raw(&output.mask.0);
    writer.bytes_u16(&output.script.0);
    writer.presence(output.withdrawal.is_some());
    if let Some(withdrawal) = &output.withdrawal {
        writer.bytes_u16(&withdrawal.address);
        writer.bytes_u16(&withdrawal.tag);
    }
}

/// Signers go as a list where the bitmap would be longer (kernel `EncodeAggregatedSignature`).
fn aggregated(writer: &mut Writer, signature: &Signature, signers: &[u16]) {
    writer.u16(AGGREGATED);
    writer.u16(AGGREGATED_PREFIX);
    writer.raw(&signature.0);
    let bitmap_len = signers.last().map_or(0, |last| usize::from(*last).div_euclid(8).saturating_add(1));
    if bitmap_len > signers.len().saturating_mul(2) {
        writer.u8(MASK_SPARSE);
        writer.count(signers.len());
        signers.iter().for_each(|signer| writer.u16(*signer));
        return;
    }
    let mut bitmap = vec![0_u8; bitmap_len];
    for signer in signers {
        if let Some(byte) = bitmap.get_mut(usize::from(*signer).div_euclid(8)) {
            *byte |= 1 << (signer & 7);
        }
    }
    writer.u8(MASK_ORDINARY);
    writer.bytes_u16(&bitmap);
}
