//! The Merkle tree of one block: a chunk and its path give the block's root, which a seal signs.
//!
//! Nodes are keyed BLAKE3 cut to 128 bits, which is what a second preimage needs. Leaves and inner nodes hash under
//! different keys, so neither passes for the other (RFC 6962 section 2.1 says why), and both keys are derived from the
//! stream's public key, so a root means nothing to another stream. Vectors are in `docs/CODING.md`.

use crate::error::Malformed;
use crate::limits::{CHUNK_HEADER_BYTES, MAX_N, MAX_PATH_NODES, MERKLE_NODE_BYTES};

/// A leaf, an inner node or the root of a tree.
pub type Node = [u8; MERKLE_NODE_BYTES];

/// Nodes of the largest tree: level by level, the leaves first, the root last.
const MAX_NODES: usize = 2 * MAX_N - 1;

/// What stands in for the leaves that a block of fewer than 2^depth chunks does not have.
const NO_LEAF: Node = [0; MERKLE_NODE_BYTES];

/// Levels between a leaf and the root of a tree over `n` chunks: log2 of `n`, rounded up. It is 5 for 32 chunks.
pub const fn depth(n: usize) -> usize {
    match n {
        0 => 0,
        _ => (usize::BITS - (n - 1).leading_zeros()) as usize,
    }
}

/// The hash keys of one stream.
#[derive(Clone, Debug)]
pub struct Keys {
    leaf_key: [u8; 32],
    node_key: [u8; 32],
}

impl Keys {
    /// The keys of the stream with this public key. They are no secret.
    pub fn new(stream_public_key: &[u8; 32]) -> Self {
        Self {
            leaf_key: blake3::derive_key("weir v1 merkle leaf", stream_public_key),
            node_key: blake3::derive_key("weir v1 merkle node", stream_public_key),
        }
    }

    /// The leaf of a chunk: its fixed header, then its payload.
    pub fn leaf(&self, header: &[u8; CHUNK_HEADER_BYTES], payload: &[u8]) -> Node {
        let mut hasher = blake3::Hasher::new_keyed(&self.leaf_key);
        hasher.update(header).update(payload);
        cut(hasher.finalize())
    }

    /// The node above two others.
    pub fn parent(&self, left: &Node, right: &Node) -> Node {
        let mut children = [0; 2 * MERKLE_NODE_BYTES];
        children[..MERKLE_NODE_BYTES].copy_from_slice(left);
        children[MERKLE_NODE_BYTES..].copy_from_slice(right);
        cut(blake3::keyed_hash(&self.node_key, &children))
    }

    /// The root that `leaf` at `index` has if `path` is its path: the siblings from the leaf up, 16 bytes each.
    ///
    /// The caller compares the root with the sealed one. Blames a path that is not whole nodes or has too many of them,
    /// and an index beyond the leaves of a tree with such a path.
    pub fn root_from_path(&self, leaf: &Node, index: u8, path: &[u8]) -> Result<Node, Malformed> {
        let (siblings, rest) = path.as_chunks::<MERKLE_NODE_BYTES>();
        if !rest.is_empty() {
            return Err(Malformed::Short);
        }
        if siblings.len() > MAX_PATH_NODES {
            return Err(Malformed::Long);
        }
        // At most 5 siblings: the shift is within a u8.
        if index >> siblings.len() != 0 {
            return Err(Malformed::Field);
        }
        let up = |node: Node, (level, sibling): (usize, &Node)| match index >> level & 1 {
            0 => self.parent(&node, sibling),
            _ => self.parent(sibling, &node),
        };
        Ok(siblings.iter().enumerate().fold(*leaf, up))
    }
}

fn cut(hash: blake3::Hash) -> Node {
    let mut node = [0; MERKLE_NODE_BYTES];
    node.copy_from_slice(&hash.as_bytes()[..MERKLE_NODE_BYTES]);
    node
}

/// All nodes of one block's tree, for who made or rebuilt the block.
#[derive(Clone, Debug)]
pub struct Tree {
    depth: usize,
    nodes: [Node; MAX_NODES],
}

impl Tree {
    /// The tree over the leaves of a block, at most [`MAX_N`] in the order of their index; more are left out.
    pub fn build(keys: &Keys, leaves: &[Node]) -> Self {
        let leaves = &leaves[..leaves.len().min(MAX_N)];
        let depth = depth(leaves.len());
        let mut nodes = [NO_LEAF; MAX_NODES];
        nodes[..leaves.len()].copy_from_slice(leaves);

        // Levels follow each other, each half as long as the one below it: children stand two by two in the order of
        // their parents, and the 2^(depth+1) - 1 nodes of a tree are at most MAX_NODES.
        let inner = 1 << depth..(2 << depth) - 1;
        for (child, parent) in inner.enumerate() {
            nodes[parent] = keys.parent(&nodes[2 * child], &nodes[2 * child + 1]);
        }
        Self { depth, nodes }
    }

    /// The root, which the block's seal carries.
    pub fn root(&self) -> Node {
        // The last of 2^(depth+1) - 1 nodes.
        self.nodes[(2 << self.depth) - 2]
    }

    /// Writes the path of chunk `index` to the front of `out`: the siblings from the leaf up. Returns its length in
    /// bytes, or 0 if the tree has no such leaf or `out` has no room for it.
    pub fn path(&self, index: u8, out: &mut [u8]) -> usize {
        let mut at = usize::from(index);
        let bytes = self.depth * MERKLE_NODE_BYTES;
        if at >> self.depth != 0 || out.len() < bytes {
            return 0;
        }
        for sibling in out[..bytes].as_chunks_mut().0 {
            // A node and its sibling differ in the last bit of their place; their parent is halfway to the end.
            *sibling = self.nodes[at ^ 1];
            at = (1 << self.depth) + at / 2;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::vec::Vec;

    const STREAM: [u8; 32] = *b"a stream is named by 32 bytes...";

    fn header(index: u8) -> [u8; CHUNK_HEADER_BYTES] {
        let mut header = [0x77; CHUNK_HEADER_BYTES];
        header[CHUNK_HEADER_BYTES - 1] = index;
        header
    }

    fn payloads(n: u8) -> Vec<Vec<u8>> {
        let mut rng = Rng::new(u64::from(n));
        (0..n)
            .map(|_| (0..29).map(|_| rng.next_u64() as u8).collect())
            .collect()
    }

    fn tree(keys: &Keys, payloads: &[Vec<u8>]) -> Tree {
        let leaves: Vec<Node> = (0..)
            .zip(payloads)
            .map(|(i, p)| keys.leaf(&header(i), p))
            .collect();
        Tree::build(keys, &leaves)
    }

    /// The definition, by recursion and with nothing of this module.
    fn root_by_definition(nodes: &[Vec<u8>]) -> Vec<u8> {
        if let [root] = nodes {
            return root.clone();
        }
        let (left, right) = nodes.split_at(nodes.len() / 2);
        let both = [root_by_definition(left), root_by_definition(right)].concat();
        let key = blake3::derive_key("weir v1 merkle node", &STREAM);
        blake3::keyed_hash(&key, &both).as_bytes()[..16].to_vec()
    }

    #[test]
    fn depths() {
        let expected = [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (16, 4),
            (17, 5),
            (32, 5),
        ];
        assert!(expected.iter().all(|(n, levels)| depth(*n) == *levels));
    }

    #[test]
    fn roots_follow_the_definition() {
        let leaf_key = blake3::derive_key("weir v1 merkle leaf", &STREAM);
        for n in 1..=32u8 {
            let payloads = payloads(n);
            let mut leaves: Vec<Vec<u8>> = (0..)
                .zip(&payloads)
                .map(|(i, p)| [&header(i)[..], p].concat())
                .map(|bytes| blake3::keyed_hash(&leaf_key, &bytes).as_bytes()[..16].to_vec())
                .collect();
            leaves.resize(usize::from(n).next_power_of_two(), [0; 16].to_vec());
            let tree = tree(&Keys::new(&STREAM), &payloads);
            assert_eq!(tree.root()[..], root_by_definition(&leaves)[..], "n = {n}");
        }
    }

    #[test]
    fn every_path_leads_to_the_root() {
        let keys = Keys::new(&STREAM);
        for n in 1..=32u8 {
            let payloads = payloads(n);
            let tree = tree(&keys, &payloads);
            for (index, payload) in (0..n).zip(&payloads) {
                let mut path = [0; 80];
                let bytes = tree.path(index, &mut path);
                assert_eq!(bytes, 16 * depth(usize::from(n)));
                let leaf = keys.leaf(&header(index), payload);
                let root = keys.root_from_path(&leaf, index, &path[..bytes]);
                assert_eq!(root, Ok(tree.root()), "chunk {index} of {n}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let keys = Keys::new(&STREAM);
        let payloads = payloads(32);
        let tree = tree(&keys, &payloads);
        let index = 19;
        let payload = &payloads[usize::from(index)];
        let mut path = [0; 80];
        assert_eq!(tree.path(index, &mut path), 80);

        // What is received, end to end: header, payload, path, and the index once more.
        let honest = [&header(index)[..], payload, &path, &[index]].concat();
        let root_of = |bytes: &[u8]| {
            let (header, rest) = bytes.split_first_chunk().unwrap();
            let (payload, rest) = rest.split_at(payload.len());
            let (path, index) = rest.split_at(80);
            keys.root_from_path(&keys.leaf(header, payload), index[0], path)
        };
        assert_eq!(root_of(&honest), Ok(tree.root()));
        for bit in 0..honest.len() * 8 {
            let mut flipped = honest.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(root_of(&flipped), Ok(tree.root()), "bit {bit}");
        }
        let leaf = keys.leaf(&header(index), payload);
        for bit in 0..128 {
            let mut flipped = leaf;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(keys.root_from_path(&flipped, index, &path), Ok(tree.root()));
        }
    }

    #[test]
    fn another_stream_has_another_root() {
        let payloads = payloads(3);
        let other = Keys::new(&[9; 32]);
        assert_ne!(
            tree(&Keys::new(&STREAM), &payloads).root(),
            tree(&other, &payloads).root()
        );
    }

    #[test]
    fn an_inner_node_is_no_leaf() {
        let keys = Keys::new(&STREAM);
        let children = [[1; 16], [2; 16]].concat();
        let (header, payload) = children.split_first_chunk().unwrap();
        assert_ne!(keys.leaf(header, payload), keys.parent(&[1; 16], &[2; 16]));
    }

    #[test]
    fn hostile_paths_are_refused() {
        let keys = Keys::new(&STREAM);
        let root = |index, bytes| keys.root_from_path(&[1; 16], index, &[0; 200][..bytes]);
        assert_eq!(root(0, 15), Err(Malformed::Short));
        assert_eq!(root(0, 81), Err(Malformed::Short));
        assert_eq!(root(0, 96), Err(Malformed::Long));
        assert_eq!(root(0, 192), Err(Malformed::Long));
        assert_eq!(root(2, 16), Err(Malformed::Field));
        assert_eq!(root(32, 80), Err(Malformed::Field));
        assert_eq!(root(255, 80), Err(Malformed::Field));
        assert_eq!(root(0, 0), Ok([1; 16]));
    }

    #[test]
    fn a_tree_refuses_what_it_has_not() {
        let keys = Keys::new(&STREAM);
        let tree = tree(&keys, &payloads(5));
        assert_eq!(tree.path(8, &mut [0; 80]), 0);
        assert_eq!(tree.path(255, &mut [0; 80]), 0);
        assert_eq!(tree.path(4, &mut [0; 47]), 0);
        assert_eq!(tree.path(4, &mut [0; 48]), 48);
        assert_eq!(
            Tree::build(&keys, &[[3; 16]; 40]).root(),
            Tree::build(&keys, &[[3; 16]; 32]).root()
        );
        assert_eq!(Tree::build(&keys, &[]).root(), [0; 16]);
    }

    /// The value of a line `name  hex` of the document.
    fn documented(name: &str) -> Vec<u8> {
        let document = include_str!("../../docs/CODING.md");
        let value = |line: &'static str| line.strip_prefix(name)?.strip_prefix(' ');
        let digits = document
            .lines()
            .find_map(value)
            .expect(name)
            .trim()
            .as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    #[test]
    fn the_document_is_right() {
        use crate::crypto::sign::{SigningKey, Verifier};
        use crate::{coding::block::Code, wire::framing};

        let payloads = ["payload 0", "payload 1", "payload 2"].map(documented);
        let code = Code::new(2, 3).unwrap();
        assert_eq!(code.row(2)[..2], [3, 2]);
        let mut parity = [0; 4];
        code.encode_parity(&[&payloads[0], &payloads[1]], 2, &mut parity)
            .unwrap();
        assert_eq!(parity[..], payloads[2]);

        let signing_key = SigningKey::from_seed(documented("seed").try_into().unwrap());
        let stream_key = signing_key.public();
        assert_eq!(stream_key[..], documented("stream key"));

        let keys = Keys::new(&stream_key);
        assert_eq!(keys.leaf_key[..], documented("leaf key"));
        assert_eq!(keys.node_key[..], documented("node key"));
        let headers =
            ["header 0", "header 1", "header 2"].map(|name| documented(name).try_into().unwrap());
        let leaves = [0, 1, 2].map(|i| keys.leaf(&headers[i], &payloads[i]));
        let tree = Tree::build(&keys, &leaves);
        assert_eq!(
            leaves.concat(),
            ["leaf 0", "leaf 1", "leaf 2"].map(documented).concat()
        );
        assert_eq!(tree.nodes[4][..], documented("node 0 1"));
        assert_eq!(tree.nodes[5][..], documented("node 2 3"));
        assert_eq!(tree.root()[..], documented("root"));
        for (index, name) in (0..).zip(["path 0", "path 1", "path 2"]) {
            let mut path = [0; 32];
            assert_eq!(tree.path(index, &mut path), 32);
            assert_eq!(path[..], documented(name));
        }

        let parts: [&[u8]; 2] = [b"weir", &tree.root()];
        let signature = signing_key.sign("weir v1 example", &parts);
        assert_eq!(signature[..], documented("signature"));
        let verifier = Verifier::new(&stream_key).unwrap();
        assert_eq!(
            verifier.verify("weir v1 example", &parts, &signature),
            Ok(())
        );

        let mut frame = [0; 20];
        let len = framing::encode(&documented("datagram"), &mut frame).unwrap();
        assert_eq!(frame[..len], documented("frame"));
    }
}
