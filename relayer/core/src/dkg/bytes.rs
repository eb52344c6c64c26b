//! Parts of canonical encodings.

use uuid::Uuid;

use crate::group::file::{Person, people};
use crate::group::{GroupError, Member};
use crate::reader::Reader;

/// A text after its length u16. Texts of members have at most 256 bytes.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// A count of at most 255.
pub(crate) fn push_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.push(u8::try_from(count).unwrap_or(u8::MAX));
}

/// Index u8 ‖ name ‖ user 16 ‖ identity 32 ‖ peer.
pub(crate) fn push_member(bytes: &mut Vec<u8>, member: &Member) {
    bytes.push(member.index);
    push_text(bytes, &member.name);
    bytes.extend_from_slice(member.user.as_bytes());
    bytes.extend_from_slice(member.identity.as_bytes());
    push_text(bytes, &member.peer);
}

/// A member as it stands in bytes, unchecked.
pub(crate) struct RawMember {
    index: u8,
    name: String,
    user: Uuid,
    identity: String,
    peer: String,
}

pub(crate) fn read_member(reader: &mut Reader<'_>) -> Option<RawMember> {
    let [index] = reader.array()?;
    let name = String::from_utf8(reader.prefixed()?.to_vec()).ok()?;
    let user = Uuid::from_bytes(reader.array()?);
    let identity = hex::encode(reader.array::<32>()?);
    let peer = String::from_utf8(reader.prefixed()?.to_vec()).ok()?;
    Some(RawMember { index, name, user, identity, peer })
}

/// The members, by the same rules as in a file.
pub(crate) fn check_members(raw: &[RawMember]) -> Result<Vec<Member>, GroupError> {
    people(raw.iter().map(|raw| Person {
        index: raw.index,
        name: &raw.name,
        user: raw.user,
        identity: &raw.identity,
        peer: &raw.peer,
    }))
}
