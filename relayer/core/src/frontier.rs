//! The frontier: a Merkle tree over the state of the core (leaf 0) and the heads of all mailboxes on all chains
//! (leaves 1, 2, … in order of registration).
//!
//! Its depth is the smallest that holds all leaves; missing leaves at the right are zero. [`Frontier`] holds the newest
//! nodes only and reports each node that changes, so that a store can keep every version of every node and prove any leaf
//! at any applied sequence: a node at sequence s is its newest version at or before s.

use std::collections::BTreeMap;

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// First byte of what a leaf hashes.
pub const LEAF_TAG: u8 = 0x00;
/// First byte of what a node hashes.
pub const NODE_TAG: u8 = 0x01;
/// A missing leaf.
pub const EMPTY_LEAF: B256 = B256::ZERO;
/// The contract reads leaf indexes as `uint32`, so no proof is longer.
pub const DEPTH_MAX: u8 = 32;

/// Leaf 0: keccak(0x00 ‖ digest of the core's state).
pub fn state_leaf(state_digest: &B256) -> B256 {
    keccak256([&[LEAF_TAG], state_digest.as_slice()].concat())
}

/// A node: keccak(0x01 ‖ left ‖ right).
pub fn node(left: &B256, right: &B256) -> B256 {
    keccak256([&[NODE_TAG], left.as_slice(), right.as_slice()].concat())
}

/// Depth of a tree with this many leaves: ⌈log₂ leaves⌉.
pub fn depth(leaves: u32) -> u8 {
    let bits = leaves.saturating_sub(1).checked_ilog2().map_or(0, |log| log.saturating_add(1));
    u8::try_from(bits).unwrap_or(DEPTH_MAX)
}

/// A subtree of `level` levels without any leaf.
fn empty_node(level: u8) -> B256 {
    (0..level).fold(EMPTY_LEAF, |below, _| node(&below, &below))
}

/// A place in the tree: leaves are level 0, and indexes count from the left within a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodePlace {
    /// Distance from the leaves.
    pub level: u8,
    /// Place from the left.
    pub index: u32,
}

/// A node that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChange {
    /// Where it is.
    pub place: NodePlace,
    /// What it is now.
    pub hash: B256,
}

/// The newest nodes of the tree. It always has leaf 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    leaves: u32,
    nodes: BTreeMap<NodePlace, B256>,
}

impl Frontier {
    /// A tree of one leaf, which is its root.
    pub fn new(first: B256) -> Self {
        Self { leaves: 1, nodes: BTreeMap::from([(NodePlace { level: 0, index: 0 }, first)]) }
    }

    /// The tree over `leaves`, built level by level; `None` without any, or above 2³² − 1 of them.
    pub fn from_leaves(leaves: impl IntoIterator<Item = B256>) -> Option<Self> {
        let mut level: Vec<B256> = leaves.into_iter().collect();
        let leaves = u32::try_from(level.len()).ok().filter(|leaves| *leaves != 0)?;
        let mut nodes = BTreeMap::new();
        let mut empty = EMPTY_LEAF;
        for height in 0..=depth(leaves) {
            nodes.extend((0..).map(|index| NodePlace { level: height, index }).zip(level.iter().copied()));
            let parent = |pair: &[B256]| match pair {
                [left, right, ..] => node(left, right),
                [left] => node(left, &empty),
                [] => empty,
            };
            level = level.chunks(2).map(parent).collect();
            empty = node(&empty, &empty);
        }
        Some(Self { leaves, nodes })
    }

    /// Number of leaves.
    pub const fn leaves(&self) -> u32 {
        self.leaves
    }

    /// The root.
    pub fn root(&self) -> B256 {
        self.at(NodePlace { level: depth(self.leaves), index: 0 })
    }

    /// The newest hash at `place`, or `None` where no leaf is below.
    pub fn node(&self, place: NodePlace) -> Option<B256> {
        self.nodes.get(&place).copied()
    }

    /// All nodes, leaves first: what a store needs in order to begin.
    pub fn nodes(&self) -> impl Iterator<Item = NodeChange> + '_ {
        self.nodes.iter().map(|(place, hash)| NodeChange { place: *place, hash: *hash })
    }

    /// Replaces a leaf. Answers with every node that changed, the leaf first and the root last.
    ///
    /// # Errors
    /// Refuses a leaf that does not exist yet; see [`Frontier::append`].
    pub fn update(&mut self, index: u32, leaf: B256) -> Result<Vec<NodeChange>, FrontierError> {
        if index >= self.leaves {
            return Err(FrontierError::NoLeaf { index, leaves: self.leaves });
        }
        Ok(self.set(index, leaf))
    }

    /// Adds a leaf at the right. Answers with its index and every node that changed, the leaf first and the root last.
    ///
    /// # Errors
    /// Refuses the 2³²th leaf.
    pub fn append(&mut self, leaf: B256) -> Result<(u32, Vec<NodeChange>), FrontierError> {
        let index = self.leaves;
        self.leaves = self.leaves.checked_add(1).ok_or(FrontierError::Full)?;
        Ok((index, self.set(index, leaf)))
    }

    /// Proof of a leaf in the tree as it is now.
    ///
    /// # Errors
    /// Refuses a leaf that does not exist.
    pub fn proof(&self, index: u32) -> Result<Vec<B256>, FrontierError> {
        proof(index, self.leaves, |place| self.node(place))
    }

    fn set(&mut self, index: u32, leaf: B256) -> Vec<NodeChange> {
        let (mut place, mut hash) = (NodePlace { level: 0, index }, leaf);
        let mut changes = vec![NodeChange { place, hash }];
        self.nodes.insert(place, hash);
        while place.level < depth(self.leaves) {
            let sibling = self.at(NodePlace { level: place.level, index: place.index ^ 1 });
            hash = if place.index & 1 == 0 { node(&hash, &sibling) } else { node(&sibling, &hash) };
            place = NodePlace { level: place.level.saturating_add(1), index: place.index >> 1 };
            changes.push(NodeChange { place, hash });
            self.nodes.insert(place, hash);
        }
        changes
    }

    fn at(&self, place: NodePlace) -> B256 {
        self.node(place).unwrap_or_else(|| empty_node(place.level))
    }
}

/// The siblings that prove leaf `index` among `leaves`, bottom up; `None` stands for an empty subtree, which needs no
/// reading. A store that reads asynchronously asks for these places and then calls [`proof`].
///
/// # Errors
/// Refuses a leaf that does not exist.
pub fn proof_places(index: u32, leaves: u32) -> Result<Vec<Option<NodePlace>>, FrontierError> {
    if index >= leaves {
        return Err(FrontierError::NoLeaf { index, leaves });
    }
    let sibling = |level: u8| {
        let sibling = (u64::from(index) >> level) ^ 1;
        let filled = sibling << level < u64::from(leaves);
        u32::try_from(sibling).ok().filter(|_| filled).map(|index| NodePlace { level, index })
    };
    Ok((0..depth(leaves)).map(sibling).collect())
}

/// The proof of leaf `index` in a tree of `leaves` leaves: its siblings bottom up, exactly depth many. `read` answers
/// with the newest version of a node at or before the sequence in question; `leaves` is the number of leaves there.
///
/// # Errors
/// Refuses a leaf that does not exist, and says which node `read` did not have.
pub fn proof(index: u32, leaves: u32, read: impl Fn(NodePlace) -> Option<B256>) -> Result<Vec<B256>, FrontierError> {
    let sibling = |(level, place): (u8, Option<NodePlace>)| match place {
        None => Ok(empty_node(level)),
        Some(place) => read(place).ok_or(FrontierError::NoNode(place)),
    };
    (0..DEPTH_MAX).zip(proof_places(index, leaves)?).map(sibling).collect()
}

/// True if `leaf` stands at `index` in the tree with this root, as the group contract checks it.
pub fn verify_proof(leaf: &B256, index: u32, proof: &[B256], root: &B256) -> bool {
    let mut place = index;
    let mut hash = *leaf;
    for sibling in proof {
        hash = if place & 1 == 0 { node(&hash, sibling) } else { node(sibling, &hash) };
        place >>= 1;
    }
    proof.len() <= usize::from(DEPTH_MAX) && place == 0 && hash == *root
}

/// Every version of every node, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionedNodes {
    versions: BTreeMap<(NodePlace, u64), B256>,
    leaves: BTreeMap<u64, u32>,
}

impl VersionedNodes {
    /// Keeps what changed at `sequence`, after which the tree had `leaves` leaves.
    pub fn record(&mut self, sequence: u64, leaves: u32, changes: impl IntoIterator<Item = NodeChange>) {
        self.leaves.insert(sequence, leaves);
        for NodeChange { place, hash } in changes {
            self.versions.insert((place, sequence), hash);
        }
    }

    /// The node at `place` as it was after the last output with a sequence ≤ `sequence`.
    pub fn read(&self, place: NodePlace, sequence: u64) -> Option<B256> {
        self.versions.range((place, 0)..=(place, sequence)).next_back().map(|(_, hash)| *hash)
    }

    /// The number of leaves there, or 0 before the first record.
    pub fn leaves(&self, sequence: u64) -> u32 {
        self.leaves.range(..=sequence).next_back().map_or(0, |(_, leaves)| *leaves)
    }

    /// The root there, or `None` before the first record.
    pub fn root(&self, sequence: u64) -> Option<B256> {
        self.read(NodePlace { level: depth(self.leaves(sequence)), index: 0 }, sequence)
    }

    /// The proof of leaf `index` there.
    ///
    /// # Errors
    /// Refuses a leaf that did not exist then.
    pub fn proof(&self, index: u32, sequence: u64) -> Result<Vec<B256>, FrontierError> {
        proof(index, self.leaves(sequence), |place| self.read(place, sequence))
    }
}

/// Why a leaf cannot be set or proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrontierError {
    /// An index at or above the number of leaves.
    #[error("leaf {index} does not exist among {leaves}")]
    NoLeaf {
        /// Leaf asked for.
        index: u32,
        /// Number of leaves.
        leaves: u32,
    },
    /// The store lacks a node that the tree has.
    #[error("the store lacks node {} of level {}", .0.index, .0.level)]
    NoNode(NodePlace),
    /// Leaf indexes are used up.
    #[error("the frontier is full")]
    Full,
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(number: u32) -> B256 {
        keccak256(number.to_be_bytes())
    }

    /// The definition, word for word: pad with empty leaves to a power of two and hash in pairs.
    fn plain_root(leaves: &[B256]) -> B256 {
        let mut level = leaves.to_vec();
        level.resize(leaves.len().next_power_of_two(), EMPTY_LEAF);
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| node(&pair[0], &pair[1])).collect();
        }
        level[0]
    }

    #[test]
    fn leaves_that_do_not_exist_should_be_refused() {
        let mut frontier = Frontier::new(leaf(0));
        assert_eq!(frontier.update(1, leaf(1)), Err(FrontierError::NoLeaf { index: 1, leaves: 1 }));
        assert_eq!(frontier.proof(1), Err(FrontierError::NoLeaf { index: 1, leaves: 1 }));
        assert_eq!(proof(0, 0, |_| None), Err(FrontierError::NoLeaf { index: 0, leaves: 0 }));
        let missing = NodePlace { level: 0, index: 1 };
        assert_eq!(proof(0, 2, |_| None), Err(FrontierError::NoNode(missing)));
        assert_eq!(Frontier::from_leaves([]), None);
    }

    #[test]
    fn proofs_of_another_leaf_index_depth_or_root_should_be_refused() {
        let frontier = Frontier::from_leaves((0..5).map(leaf)).expect("leaves");
        let proof = frontier.proof(3).expect("a leaf");
        let root = frontier.root();
        assert!(verify_proof(&leaf(3), 3, &proof, &root));
        assert!(!verify_proof(&leaf(2), 3, &proof, &root));
        assert!(!verify_proof(&leaf(3), 2, &proof, &root));
        assert!(!verify_proof(&leaf(3), 3 + 8, &proof, &root));
        assert!(!verify_proof(&leaf(3), 3, &proof[1..], &root));
        assert!(!verify_proof(&leaf(3), 3, &proof, &B256::ZERO));
        assert!(!verify_proof(&leaf(3), 3, &[B256::ZERO; 33], &root));
    }

    #[test]
    fn depth_should_be_the_smallest_that_holds_all_leaves() {
        for (leaves, expected) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1 << 31, 31), (u32::MAX, 32)] {
            assert_eq!(depth(leaves), expected, "{leaves}");
        }
    }

    #[test]
    fn the_root_should_be_the_plain_definition() {
        let mut frontier = Frontier::new(leaf(0));
        let mut leaves = vec![leaf(0)];
        for number in 1..40 {
            assert_eq!(frontier.root(), plain_root(&leaves), "{number} leaves");
            assert_eq!(Frontier::from_leaves(leaves.iter().copied()).as_ref(), Some(&frontier), "{number} leaves");
            leaves.push(leaf(number));
            let (index, changes) = frontier.append(leaf(number)).expect("room");
            assert_eq!((index, changes.last().map(|root| root.hash)), (number, Some(frontier.root())));
        }
    }

    proptest! {
        #[test]
        fn every_leaf_should_be_provable_at_every_sequence(steps in prop::collection::vec((any::<bool>(), any::<u32>()), 1..60)) {
            let (mut frontier, mut store) = (Frontier::new(leaf(0)), VersionedNodes::default());
            store.record(10, 1, frontier.nodes());
            let mut leaves = vec![leaf(0)];
            let mut past = vec![(10, leaves.clone())];
            for (step, (grow, value)) in (1..).zip(steps) {
                let changes = if grow {
                    leaves.push(leaf(value));
                    frontier.append(leaf(value)).unwrap().1
                } else {
                    let index = value as usize % leaves.len();
                    leaves[index] = leaf(value);
                    frontier.update(u32::try_from(index).unwrap(), leaf(value)).unwrap()
                };
                // Sequences have gaps, and one output may change several leaves.
                let sequence = 10 + step / 2 * 3;
                store.record(sequence, frontier.leaves(), changes);
                past.retain(|(other, _)| *other != sequence);
                past.push((sequence, leaves.clone()));
            }
            for (sequence, leaves) in past {
                for at in [sequence, sequence + 1] {
                    let root = plain_root(&leaves);
                    prop_assert_eq!(store.root(at), Some(root));
                    for (index, leaf) in (0..).zip(&leaves) {
                        let proof = store.proof(index, at).unwrap();
                        prop_assert_eq!(proof.len(), usize::from(depth(store.leaves(at))));
                        prop_assert!(verify_proof(leaf, index, &proof, &root));
                    }
                }
            }
            prop_assert_eq!(store.root(9), None);
        }
    }
}
