//! Reading transactions (kernel `common/decoding.go`), with its limits and its refusal of every second form.

use std::collections::BTreeMap;

use alloy_primitives::B256;

use super::super::amount::{self, Wide};
use super::super::encoding::{DecodeError, Fault, MAGIC, Reader};
use super::super::key::RawKey;
use super::super::script::Script;
use super::super::signature::Signature;
use super::encode::{AGGREGATED, AGGREGATED_PREFIX, MASK_ORDINARY, MASK_SPARSE};
use super::{
    Deposit, INPUT_INDEX_MAX, Input, Mint, Output, OutputType, SIZE_MAX, SLICE_MAX, Signatures, SignedTransaction,
    Transaction, VERSION, Withdrawal,
};
use crate::AssetId;
use crate::output::CoinId;

pub(super) fn transaction(bytes: &[u8]) -> Result<SignedTransaction, DecodeError> {
    if bytes.len() > SIZE_MAX {
        return Err(DecodeError::new(0, "transaction", Fault::TooMany { count: bytes.len(), max: SIZE_MAX }));
    }
    let mut reader = Reader::new(bytes);
    let mark = reader.u32("version")?;
    if mark.to_be_bytes() != [MAGIC[0], MAGIC[1], 0, VERSION] {
        return Err(DecodeError::new(0, "version", Fault::Version(mark)));
    }
    let asset = AssetId(reader.array("asset")?);
    let mut wide = Wide::default();
    let inputs = list(&mut reader, "inputs", |reader| input(reader, &mut wide))?;
    let outputs = list(&mut reader, "outputs", |reader| output(reader, &mut wide))?;
    let references = list(&mut reader, "references", |reader| reader.array("reference").map(B256::new))?;
    let extra = extra(&mut reader)?;
    let signatures = signatures(&mut reader)?;
    reader.finish()?;
    // The reader knows every bound and every second form; this is the kernel's own rule, kept as the last word.
    let non_canonical = DecodeError::new(0, "transaction", Fault::NonCanonical);
    Transaction::assemble(asset, inputs, outputs, (references, extra), wide)
        .and_then(|transaction| SignedTransaction::new(transaction, signatures))
        .ok()
        .filter(|signed| signed.encode() == bytes)
        .ok_or(non_canonical)
}

fn list<'a, T>(
    reader: &mut Reader<'a>,
    what: &'static str,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.count(SLICE_MAX, what)?;
    (0..count).map(|_| item(reader)).collect()
}

fn extra(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let offset = reader.offset();
    let count = usize::try_from(reader.u32("extra")?).unwrap_or(usize::MAX);
    if count > SIZE_MAX {
        return Err(DecodeError::new(offset, "extra", Fault::TooMany { count, max: SIZE_MAX }));
    }
    Ok(reader.raw(count, "extra")?.to_vec())
}

fn input(reader: &mut Reader<'_>, wide: &mut Wide) -> Result<Input, DecodeError> {
    let transaction = B256::new(reader.array("input hash")?);
    let index = reader.count(INPUT_INDEX_MAX.into(), "input index")?;
    let index = u16::try_from(index).unwrap_or(u16::MAX);
    let genesis = reader.bytes_u16("genesis data")?.to_vec();
    let deposit = reader.presence("deposit mark")?.then(|| deposit(reader, wide)).transpose()?;
    let mint = reader.presence("mint mark")?.then(|| mint(reader, wide)).transpose()?;
    Ok(Input { coin: CoinId { transaction, index }, genesis, deposit, mint })
}

fn deposit(reader: &mut Reader<'_>, wide: &mut Wide) -> Result<Deposit, DecodeError> {
    Ok(Deposit {
        chain: B256::new(reader.array("deposit chain")?),
        asset_key: reader.bytes_u16("deposit asset key")?.to_vec(),
        transaction: reader.bytes_u16("deposit transaction")?.to_vec(),
        index: reader.u64("deposit index")?,
        amount: amount::read(reader, wide, "deposit amount")?,
    })
}

fn mint(reader: &mut Reader<'_>, wide: &mut Wide) -> Result<Mint, DecodeError> {
    Ok(Mint {
        group: reader.bytes_u16("mint group")?.to_vec(),
        batch: reader.u64("mint batch")?,
        amount: amount::read(reader, wide, "mint amount")?,
    })
}

fn output(reader: &mut Reader<'_>, wide: &mut Wide) -> Result<Output, DecodeError> {
    let offset = reader.offset();
    let kind = reader.u16("output type")?;
    let kind = u8::try_from(kind).map_err(|_| DecodeError::new(offset, "output type", Fault::OutputType(kind)))?;
    let amount = amount::read(reader, wide, "output amount")?;
    let keys = list(reader, "output keys", |reader| reader.array("output key").map(RawKey))?;
    let mask = RawKey(reader.array("output mask")?);
    let script = Script(reader.bytes_u16("output script")?.to_vec());
    let withdrawal = reader.presence("withdrawal mark")?.then(|| withdrawal(reader)).transpose()?;
    Ok(Output { kind: OutputType(kind), amount, keys, mask, script, withdrawal })
}

fn withdrawal(reader: &mut Reader<'_>) -> Result<Withdrawal, DecodeError> {
    let address = reader.bytes_u16("withdrawal address")?.to_vec();
    let tag = reader.bytes_u16("withdrawal tag")?.to_vec();
    Ok(Withdrawal { address, tag })
}

fn signatures(reader: &mut Reader<'_>) -> Result<Signatures, DecodeError> {
    let offset = reader.offset();
    let count = reader.u16("signatures")?;
    if count == AGGREGATED {
        let prefix_offset = reader.offset();
        let prefix = reader.u16("signature form")?;
        if prefix != AGGREGATED_PREFIX {
            return Err(DecodeError::new(prefix_offset, "signature form", Fault::SignatureForm(prefix)));
        }
        return aggregated(reader);
    }
    if usize::from(count) > SLICE_MAX {
        let fault = Fault::TooMany { count: count.into(), max: SLICE_MAX };
        return Err(DecodeError::new(offset, "signatures", fault));
    }
    Ok(Signatures::Map((0..count).map(|_| signature_map(reader)).collect::<Result<_, _>>()?))
}

fn signature_map(reader: &mut Reader<'_>) -> Result<BTreeMap<u16, Signature>, DecodeError> {
    let count = reader.u16("signatures of an input")?;
    let mut map = BTreeMap::new();
    for _ in 0..count {
        let offset = reader.offset();
        let index = reader.u16("signature index")?;
        ascending(map.last_key_value().map(|(last, _)| *last), index, offset, "signature index")?;
        map.insert(index, Signature(reader.array("signature")?));
    }
    Ok(map)
}

fn aggregated(reader: &mut Reader<'_>) -> Result<Signatures, DecodeError> {
    let signature = Signature(reader.array("aggregated signature")?);
    let offset = reader.offset();
    let signers = match reader.u8("mask type")? {
        MASK_SPARSE => sparse_signers(reader)?,
        MASK_ORDINARY => bitmap_signers(reader)?,
        other => return Err(DecodeError::new(offset, "mask type", Fault::MaskType(other))),
    };
    Ok(Signatures::Aggregated { signature, signers })
}

fn sparse_signers(reader: &mut Reader<'_>) -> Result<Vec<u16>, DecodeError> {
    let count = reader.u16("signers")?;
    let mut signers = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let signer = reader.u16("signer")?;
        ascending(signers.last().copied(), signer, offset, "signer")?;
        signers.push(signer);
    }
    Ok(signers)
}

fn bitmap_signers(reader: &mut Reader<'_>) -> Result<Vec<u16>, DecodeError> {
    let offset = reader.offset();
    let bitmap = reader.bytes_u16("signer bitmap")?;
    let bits = bitmap.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    let set = bits.enumerate().filter_map(|(signer, set)| set.then_some(signer));
    set.map(|signer| {
        u16::try_from(signer).map_err(|_| DecodeError::new(offset, "signer bitmap", Fault::Signer(signer)))
    })
    .collect()
}

fn ascending(last: Option<u16>, next: u16, offset: usize, what: &'static str) -> Result<(), DecodeError> {
    if last.is_some_and(|last| last >= next) {
        return Err(DecodeError::new(offset, what, Fault::Order(next)));
    }
    Ok(())
}
