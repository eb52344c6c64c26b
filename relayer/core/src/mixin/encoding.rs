//! The kernel's byte layout: big-endian numbers and length-prefixed bytes (kernel `common/encoding.go`, `decoding.go`).

use thiserror::Error;

/// What stands before a part that is there.
pub const MAGIC: [u8; 2] = [0x77, 0x77];
/// What stands for a part that is not.
const NULL: [u8; 2] = [0, 0];

/// Writes fields in a row. Lengths are limited by the types that write; see
/// [`TransactionError`](super::TransactionError).
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// True before the first byte.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    /// A count of two bytes. Callers bound it below 2¹⁶; a larger one would give bytes that no reader takes.
    pub fn count(&mut self, count: usize) {
        debug_assert!(count <= usize::from(u16::MAX), "counts are bounded before they are written");
        self.u16(u16::try_from(count).unwrap_or(u16::MAX));
    }

    /// A two-byte length and the bytes.
    pub fn bytes_u16(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// Whether an optional part follows.
    pub fn presence(&mut self, present: bool) {
        self.raw(&if present { MAGIC } else { NULL });
    }
}

/// Reads fields in a row; never beyond the input, and every error says where and in what.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes read so far.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The next `count` bytes of field `what`.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn raw(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let left = self.bytes.len();
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err(DecodeError::new(self.offset, what, Fault::Truncated { need: count, left }));
        };
        self.bytes = rest;
        self.offset = self.offset.saturating_add(count);
        Ok(taken)
    }

    /// The next N bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N, what)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// A two-byte count of at most `max`.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::TooMany`].
    pub fn count(&mut self, max: usize, what: &'static str) -> Result<usize, DecodeError> {
        let offset = self.offset;
        let count = usize::from(self.u16(what)?);
        if count > max {
            return Err(DecodeError::new(offset, what, Fault::TooMany { count, max }));
        }
        Ok(count)
    }

    /// A two-byte length and as many bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn bytes_u16(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let count = usize::from(self.u16(what)?);
        self.raw(count, what)
    }

    /// Whether an optional part follows.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::Presence`].
    pub fn presence(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        let offset = self.offset;
        match self.array(what)? {
            MAGIC => Ok(true),
            NULL => Ok(false),
            other => Err(DecodeError::new(offset, what, Fault::Presence(u16::from_be_bytes(other)))),
        }
    }

    /// The end of the input.
    ///
    /// # Errors
    /// [`Fault::Trailing`].
    pub const fn finish(&self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(DecodeError::new(self.offset, "end", Fault::Trailing(self.bytes.len())))
    }
}

/// Where and why bytes cannot be decoded. The bytes are at fault; trying again does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("at byte {offset}, {what}: {fault}")]
pub struct DecodeError {
    /// Bytes before the field that is wrong.
    pub offset: usize,
    /// The field.
    pub what: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

impl DecodeError {
    pub(super) const fn new(offset: usize, what: &'static str, fault: Fault) -> Self {
        Self { offset, what, fault }
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The input ends too early.
    #[error("needs {need} bytes, {left} are left")]
    Truncated {
        /// Bytes of the field.
        need: usize,
        /// Bytes left.
        left: usize,
    },
    /// The input goes on after its end.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// More items than the kernel takes.
    #[error("{count} are more than the limit of {max}")]
    TooMany {
        /// Items announced.
        count: usize,
        /// The kernel's limit.
        max: usize,
    },
    /// Neither the mark of a present nor of an absent part.
    #[error("mark {0:04x} is neither 7777 nor 0000")]
    Presence(u16),
    /// Another format or version.
    #[error("{0:08x} is not the mark of a version 5 transaction (77770005)")]
    Version(u32),
    /// The first byte of an output's type is not zero.
    #[error("type {0:04x} is above one byte")]
    OutputType(u16),
    /// An amount with leading zeros.
    #[error("not canonical: the magnitude has a leading zero")]
    LeadingZero,
    /// An amount of more than 128 bits.
    #[error("a magnitude of {0} bytes is more than the 16 that an amount can have")]
    AmountTooLarge(usize),
    /// A signature part that is neither maps nor aggregated.
    #[error("unknown signature form {0:04x}")]
    SignatureForm(u16),
    /// An aggregated signature with an unknown way to list its signers.
    #[error("unknown mask type {0}")]
    MaskType(u8),
    /// Indexes that do not ascend.
    #[error("index {0} does not ascend")]
    Order(u16),
    /// A signer index above 65535.
    #[error("signer index {0} is above 65535")]
    Signer(usize),
    /// Another form of the same value exists and is the only accepted one.
    #[error("not the canonical form")]
    NonCanonical,
}
