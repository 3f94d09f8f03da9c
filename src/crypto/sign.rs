//! Ed25519 signatures (RFC 8032) over domain-separated hashes.
//!
//! What is signed is 32 bytes: BLAKE3 in its key derivation mode, with the domain as its context, over the parts of the
//! message, each preceded by its length as a little-endian `u32`. So a message need not lie in one piece (plain Ed25519
//! reads it twice), no message of one domain passes for one of another, and no parts can be regrouped. Verification is
//! strict: no key or commitment of small order, no second form of the same signature.

use ed25519_dalek::{Signature, Signer};

use crate::error::Malformed;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = ed25519_dalek::SIGNATURE_LENGTH;

/// A secret key. It is wiped from memory when dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key made from 32 secret random bytes (the seed of RFC 8032 section 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs `parts` for one purpose. `domain` names it, and must be a constant of the protocol that nothing else uses.
    pub fn sign(&self, domain: &'static str, parts: &[&[u8]]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(&digest(domain, parts)).to_bytes()
    }
}

/// A public key, checked and unpacked once for many signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier(ed25519_dalek::VerifyingKey);

impl Verifier {
    /// Takes a public key; [`Malformed::Field`] if it is no point of the curve or one of small order, under which
    /// signatures prove nothing.
    pub fn new(public_key: &[u8; 32]) -> Result<Self, Malformed> {
        match ed25519_dalek::VerifyingKey::from_bytes(public_key) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(Malformed::Field),
        }
    }

    /// The public key as bytes.
    pub fn public(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Checks the signature of `parts` in `domain`; [`Malformed::Forged`] if it does not fit.
    pub fn verify(
        &self,
        domain: &'static str,
        parts: &[&[u8]],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), Malformed> {
        self.0
            .verify_strict(&digest(domain, parts), &Signature::from_bytes(signature))
            .map_err(|_| Malformed::Forged)
    }
}

fn digest(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    for part in parts {
        // Parts are pieces of datagrams: nowhere near 4 GiB.
        hasher
            .update(&(part.len() as u32).to_le_bytes())
            .update(part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let bytes: Vec<u8> = (0..N)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        bytes.try_into().unwrap()
    }

    /// RFC 8032 section 7.1: seed, public key, message, signature.
    const RFC_8032: [(&str, &str, &[u8], &str); 2] = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            &[],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ];

    #[test]
    fn keys_are_those_of_the_rfc() {
        for (seed, public, message, signature) in RFC_8032 {
            let key = SigningKey::from_seed(hex(seed));
            assert_eq!(key.public(), hex(public));
            assert_eq!(key.0.sign(message).to_bytes(), hex(signature));
            let verifier = Verifier::new(&hex(public)).unwrap();
            let signature = Signature::from_bytes(&hex(signature));
            assert!(verifier.0.verify_strict(message, &signature).is_ok());
        }
    }

    #[test]
    fn what_is_signed_is_the_documented_hash() {
        let key = SigningKey::from_seed([7; 32]);
        let signature = key.sign("weir test", &[b"ab", b"", b"c"]);
        let hash = blake3::derive_key("weir test", b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c");
        assert_eq!(signature, key.0.sign(&hash).to_bytes());
    }

    #[test]
    fn flipped_bits_are_refused() {
        let key = SigningKey::from_seed([1; 32]);
        let message = *b"roots of a group";
        let signature = key.sign("weir test", &[&message]);
        let verifier = Verifier::new(&key.public()).unwrap();
        assert_eq!(
            verifier.verify("weir test", &[&message], &signature),
            Ok(())
        );
        for bit in 0..8 * signature.len() {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let result = verifier.verify("weir test", &[&message], &flipped);
            assert_eq!(result, Err(Malformed::Forged), "signature bit {bit}");
        }
        for bit in 0..8 * message.len() {
            let mut flipped = message;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let result = verifier.verify("weir test", &[&flipped], &signature);
            assert_eq!(result, Err(Malformed::Forged), "message bit {bit}");
        }
        for bit in 0..256 {
            let mut flipped = key.public();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let result = Verifier::new(&flipped)
                .and_then(|other| other.verify("weir test", &[&message], &signature));
            assert!(result.is_err(), "key bit {bit}");
        }
    }

    #[test]
    fn domains_and_parts_are_told_apart() {
        let key = SigningKey::from_seed([2; 32]);
        let signature = key.sign("weir test a", &[b"ab", b"c"]);
        let verifier = Verifier::new(&key.public()).unwrap();
        let verify = |domain, parts: &[&[u8]]| verifier.verify(domain, parts, &signature);
        assert_eq!(verify("weir test a", &[b"ab", b"c"]), Ok(()));
        assert_eq!(
            verify("weir test b", &[b"ab", b"c"]),
            Err(Malformed::Forged)
        );
        assert_eq!(
            verify("weir test a", &[b"a", b"bc"]),
            Err(Malformed::Forged)
        );
        assert_eq!(verify("weir test a", &[b"abc"]), Err(Malformed::Forged));
        assert_eq!(
            verify("weir test a", &[b"ab", b"c", b""]),
            Err(Malformed::Forged)
        );
    }

    #[test]
    fn useless_keys_are_refused() {
        // The neutral element, the point of order 2, one of order 4, one of order 8, and no point at all.
        let neutral: [u8; 32] =
            hex("0100000000000000000000000000000000000000000000000000000000000000");
        let order_2 = hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
        let order_4 = [0; 32];
        let order_8 = hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
        let no_point = hex("0200000000000000000000000000000000000000000000000000000000000000");
        for key in [neutral, order_2, order_4, order_8, no_point] {
            assert_eq!(Verifier::new(&key), Err(Malformed::Field), "{key:02x?}");
        }
    }
}
