//! Sessions: Noise_XX_25519_ChaChaPoly_BLAKE2s (Noise revision 34) for the handshake, then ChaCha20-Poly1305 (RFC 8439) with
//! explicit nonces and a replay window, as Noise section 11.4 allows for transports that lose and reorder.

use crate::error::Malformed;
use crate::wire::datagram::{AEAD_TAG_BYTES, CONTROL_HEADER_BYTES, control_header};
use blake2::Digest;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use noise_protocol::{Cipher, DH, HandshakeState, Hash, U8Array, patterns};
use x25519_dalek::{PublicKey, StaticSecret};

/// The public key of a node's X25519 secret.
pub fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    X25519::pubkey(secret)
}

/// A handshake in progress.
pub struct Handshake(HandshakeState<X25519, ChaChaPoly, Blake2s>);

impl Handshake {
    /// Begins a handshake. `ephemeral` must be fresh and random; `prologue` is what both sides must agree on.
    pub fn new(initiator: bool, secret: &[u8; 32], ephemeral: [u8; 32], prologue: &[u8]) -> Self {
        let pattern = patterns::noise_xx();
        Self(HandshakeState::new(
            pattern,
            initiator,
            prologue,
            Some(*secret),
            Some(ephemeral),
            None,
            None,
        ))
    }

    /// Writes the next message; returns its length.
    ///
    /// # Errors
    /// When it is not this side's turn, `out` is too small, or the peer's key is a weak one.
    pub fn write(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
        if self.0.completed() || !self.0.is_write_turn() {
            return Err(Malformed::Kind);
        }
        let len = payload.len() + self.0.get_next_message_overhead();
        let out = out.get_mut(..len).ok_or(Malformed::Short)?;
        self.0
            .write_message(payload, out)
            .map_err(|_| Malformed::Forged)?;
        Ok(len)
    }

    /// Reads the peer's next message; its payload must be exactly as long as `payload`.
    pub fn read(&mut self, message: &[u8], payload: &mut [u8]) -> Result<(), Malformed> {
        if self.0.completed() || self.0.is_write_turn() {
            return Err(Malformed::Kind);
        }
        if message.len() != payload.len() + self.0.get_next_message_overhead() {
            return Err(Malformed::Field);
        }
        self.0
            .read_message(message, payload)
            .map_err(|_| Malformed::Forged)
    }

    /// The peer's public key and the session's keys, once the last message is through.
    pub fn finish(&self) -> Option<([u8; 32], SessionKeys)> {
        if !self.0.completed() {
            return None;
        }
        let (up, down) = self.0.get_ciphers();
        let ((up, _), (down, _)) = (up.extract(), down.extract());
        let (send, receive) = if self.0.get_is_initiator() {
            (up, down)
        } else {
            (down, up)
        };
        Some((
            self.0.get_rs()?,
            SessionKeys {
                send,
                receive,
                next_nonce: 0,
                window: ReplayWindow::default(),
            },
        ))
    }
}

/// Keys and counters of an established session.
#[derive(Clone)]
pub struct SessionKeys {
    send: [u8; 32],
    receive: [u8; 32],
    next_nonce: u64,
    window: ReplayWindow,
}

impl SessionKeys {
    /// Seals the plaintext that stands in `buf` behind [`CONTROL_HEADER_BYTES`] bytes of room, `len` bytes long.
    /// The header is written and the tag appended; returns the datagram's length.
    ///
    /// # Errors
    /// When `buf` has no room for the tag.
    pub fn seal(&mut self, session: u64, buf: &mut [u8], len: usize) -> Result<usize, Malformed> {
        let total = CONTROL_HEADER_BYTES + len + AEAD_TAG_BYTES;
        let buf = buf.get_mut(..total).ok_or(Malformed::Long)?;
        let header = control_header(session, self.next_nonce);
        let (head, rest) = buf.split_at_mut(CONTROL_HEADER_BYTES);
        let (plain, tag_room) = rest.split_at_mut(len);
        head.copy_from_slice(&header);
        let tag = ChaCha20Poly1305::new(&self.send.into())
            .encrypt_in_place_detached(&nonce_bytes(self.next_nonce).into(), &header, plain)
            .map_err(|_| Malformed::Long)?;
        tag_room.copy_from_slice(&tag);
        self.next_nonce += 1;
        Ok(total)
    }

    /// Opens a control datagram into `out`; returns the plaintext's length. Replays and forgeries are refused alike.
    pub fn open(
        &mut self,
        nonce: u64,
        header: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Malformed> {
        let len = sealed
            .len()
            .checked_sub(AEAD_TAG_BYTES)
            .ok_or(Malformed::Short)?;
        if !self.window.is_new(nonce) {
            return Err(Malformed::Forged);
        }
        let out = out.get_mut(..len).ok_or(Malformed::Long)?;
        let (cipher, tag) = sealed.split_at(len);
        out.copy_from_slice(cipher);
        ChaCha20Poly1305::new(&self.receive.into())
            .decrypt_in_place_detached(&nonce_bytes(nonce).into(), header, out, tag.into())
            .map_err(|_| Malformed::Forged)?;
        self.window.mark(nonce);
        Ok(len)
    }
}

/// Which of the last 64 nonces were seen (RFC 6479 keeps the same window).
#[derive(Clone, Copy, Default)]
struct ReplayWindow {
    /// One past the highest nonce seen.
    end: u64,
    seen: u64,
}

impl ReplayWindow {
    fn is_new(&self, nonce: u64) -> bool {
        match self.end.checked_sub(nonce) {
            None | Some(0) => nonce != u64::MAX,
            Some(behind) => behind <= 64 && self.seen >> (behind - 1) & 1 == 0,
        }
    }

    fn mark(&mut self, nonce: u64) {
        if nonce >= self.end {
            let shift = nonce + 1 - self.end;
            self.seen = if shift < 64 {
                self.seen << shift | 1
            } else {
                1
            };
            self.end = nonce + 1;
        } else {
            self.seen |= 1 << (self.end - nonce - 1);
        }
    }
}

/// Noise section 12: 32 bits of zeros followed by the nonce, little-endian.
fn nonce_bytes(nonce: u64) -> [u8; 12] {
    let mut out = [0; 12];
    out[4..].copy_from_slice(&nonce.to_le_bytes());
    out
}

struct X25519;

impl DH for X25519 {
    type Key = [u8; 32];
    type Pubkey = [u8; 32];
    type Output = [u8; 32];

    fn name() -> &'static str {
        "25519"
    }

    /// Never called: [`Handshake::new`] hands in the ephemeral key, because the core has no randomness of its own.
    fn genkey() -> [u8; 32] {
        unreachable!("the ephemeral key is always given")
    }

    fn pubkey(key: &[u8; 32]) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(*key)).to_bytes()
    }

    fn dh(key: &[u8; 32], theirs: &[u8; 32]) -> Result<[u8; 32], ()> {
        let shared = StaticSecret::from(*key).diffie_hellman(&PublicKey::from(*theirs));
        if shared.was_contributory() {
            Ok(shared.to_bytes())
        } else {
            Err(())
        }
    }
}

struct ChaChaPoly;

impl Cipher for ChaChaPoly {
    type Key = [u8; 32];

    fn name() -> &'static str {
        "ChaChaPoly"
    }

    fn encrypt(k: &[u8; 32], nonce: u64, ad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        out[..plaintext.len()].copy_from_slice(plaintext);
        Self::encrypt_in_place(k, nonce, ad, out, plaintext.len());
    }

    fn encrypt_in_place(
        k: &[u8; 32],
        nonce: u64,
        ad: &[u8],
        in_out: &mut [u8],
        plaintext_len: usize,
    ) -> usize {
        let (plain, tag_room) = in_out.split_at_mut(plaintext_len);
        let tag = ChaCha20Poly1305::new(k.into())
            .encrypt_in_place_detached(&nonce_bytes(nonce).into(), ad, plain)
            // Fails only for plaintexts of 256 GiB and more.
            .unwrap_or_default();
        tag_room[..AEAD_TAG_BYTES].copy_from_slice(&tag);
        plaintext_len + AEAD_TAG_BYTES
    }

    fn decrypt(
        k: &[u8; 32],
        nonce: u64,
        ad: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<(), ()> {
        let len = ciphertext.len().checked_sub(AEAD_TAG_BYTES).ok_or(())?;
        let (cipher, tag) = ciphertext.split_at(len);
        out.copy_from_slice(cipher);
        ChaCha20Poly1305::new(k.into())
            .decrypt_in_place_detached(&nonce_bytes(nonce).into(), ad, out, tag.into())
            .map_err(|_| ())
    }

    fn decrypt_in_place(
        k: &[u8; 32],
        nonce: u64,
        ad: &[u8],
        in_out: &mut [u8],
        ciphertext_len: usize,
    ) -> Result<usize, ()> {
        let len = ciphertext_len.checked_sub(AEAD_TAG_BYTES).ok_or(())?;
        let (cipher, tag) = in_out
            .get_mut(..ciphertext_len)
            .ok_or(())?
            .split_at_mut(len);
        ChaCha20Poly1305::new(k.into())
            .decrypt_in_place_detached(&nonce_bytes(nonce).into(), ad, cipher, (&*tag).into())
            .map_err(|_| ())?;
        Ok(len)
    }
}

#[derive(Default)]
struct Blake2s(blake2::Blake2s256);

impl Hash for Blake2s {
    type Block = [u8; 64];
    type Output = [u8; 32];

    fn name() -> &'static str {
        "BLAKE2s"
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self) -> [u8; 32] {
        <[u8; 32]>::from_slice(&self.0.finalize_reset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (SessionKeys, SessionKeys) {
        let (a, b) = ([1; 32], [2; 32]);
        let mut initiator = Handshake::new(true, &a, [3; 32], b"prologue");
        let mut responder = Handshake::new(false, &b, [4; 32], b"prologue");
        let (mut wire, mut none, mut eight) = ([0; 256], [0; 0], [0; 8]);
        let n = initiator.write(&[], &mut wire).unwrap();
        responder.read(&wire[..n], &mut none).unwrap();
        let n = responder.write(&7u64.to_be_bytes(), &mut wire).unwrap();
        initiator.read(&wire[..n], &mut eight).unwrap();
        assert_eq!(eight, 7u64.to_be_bytes());
        let n = initiator.write(&[], &mut wire).unwrap();
        responder.read(&wire[..n], &mut none).unwrap();
        let (their_key, ours) = initiator.finish().unwrap();
        let (our_key, theirs) = responder.finish().unwrap();
        assert_eq!((their_key, our_key), (public_key(&b), public_key(&a)));
        (ours, theirs)
    }

    fn sealed(keys: &mut SessionKeys, text: &[u8]) -> ([u8; 128], usize) {
        let mut buf = [0; 128];
        buf[CONTROL_HEADER_BYTES..][..text.len()].copy_from_slice(text);
        let n = keys.seal(9, &mut buf, text.len()).unwrap();
        (buf, n)
    }

    fn opened(keys: &mut SessionKeys, datagram: &[u8]) -> Result<usize, Malformed> {
        let (header, sealed) = datagram.split_at(CONTROL_HEADER_BYTES);
        let nonce = u64::from_be_bytes(header[9..].try_into().unwrap());
        keys.open(nonce, header, sealed, &mut [0; 128])
    }

    #[test]
    fn messages_arrive_in_any_order_but_only_once() {
        let (mut a, mut b) = pair();
        let sent: std::vec::Vec<_> = (0..10).map(|_| sealed(&mut a, b"hello")).collect();
        for &(buf, n) in sent.iter().rev() {
            assert_eq!(opened(&mut b, &buf[..n]), Ok(5));
        }
        for (buf, n) in sent {
            assert_eq!(opened(&mut b, &buf[..n]), Err(Malformed::Forged));
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let (mut a, mut b) = pair();
        let (buf, n) = sealed(&mut a, b"hello");
        for bit in 0..n * 8 {
            let mut bad = buf;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&mut b, &bad[..n]).is_err(), "bit {bit}");
        }
        assert_eq!(opened(&mut b, &buf[..n]), Ok(5));
    }

    #[test]
    fn different_prologues_do_not_meet() {
        let mut initiator = Handshake::new(true, &[1; 32], [3; 32], b"one");
        let mut responder = Handshake::new(false, &[2; 32], [4; 32], b"two");
        let (mut wire, mut none) = ([0; 256], [0; 0]);
        let n = initiator.write(&[], &mut wire).unwrap();
        responder.read(&wire[..n], &mut none).unwrap();
        let n = responder.write(&[0; 8], &mut wire).unwrap();
        assert_eq!(
            initiator.read(&wire[..n], &mut [0; 8]),
            Err(Malformed::Forged)
        );
    }

    #[test]
    fn replay_window_edges() {
        let mut window = ReplayWindow::default();
        window.mark(100);
        assert!(
            !window.is_new(100) && window.is_new(99) && window.is_new(37) && !window.is_new(36)
        );
        window.mark(37);
        assert!(!window.is_new(37));
        window.mark(1_000);
        assert!(!window.is_new(100) && window.is_new(999) && !window.is_new(u64::MAX));
    }
}
