//! Somebody who went through the handshake as one should, and then says whatever the input says.

use weir::crypto::session::{Handshake, SessionKeys};
use weir::limits::MAX_DATAGRAM_BYTES;
use weir::wire::addr::Addr;
use weir::wire::chunk::{self, Tag};
use weir::wire::datagram::{CONTROL_HEADER_BYTES, Datagram, MAX_CONTROL_BYTES};

/// Its own session id; the first, if it begins anew.
const FIRST_SESSION: u64 = 0x1111_2222_3333_4444;

pub struct Neighbour {
    pub addr: Addr,
    tag: Tag,
    session: u64,
    step: Step,
}

enum Step {
    Hello,
    Initiate(Box<Handshake>),
    Open { theirs: u64, keys: SessionKeys },
}

impl Neighbour {
    pub fn new(addr: Addr, tag: Tag) -> Self {
        Self {
            addr,
            tag,
            session: FIRST_SESSION,
            step: Step::Hello,
        }
    }

    /// Begins (again): a Hello.
    pub fn hello(&mut self) -> Vec<u8> {
        self.session += 1;
        self.step = Step::Hello;
        written(&Datagram::Hello {
            session: self.session,
            tag: self.tag,
        })
    }

    /// What it answers to a datagram, if it is one of the handshake.
    pub fn answer(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        match (Datagram::parse(datagram).ok()?, &mut self.step) {
            (Datagram::Cookie { session, cookie }, Step::Hello) if session == self.session => {
                let prologue = prologue(self.session, self.tag);
                let mut handshake = Handshake::new(true, &[9; 32], [8; 32], &prologue);
                let mut noise = [0; 32];
                handshake.write(&[], &mut noise).ok()?;
                self.step = Step::Initiate(Box::new(handshake));
                Some(written(&Datagram::Initiate {
                    session: self.session,
                    tag: self.tag,
                    cookie,
                    noise: &noise,
                }))
            }
            (Datagram::Reply { noise, .. }, Step::Initiate(handshake)) => {
                let (mut theirs, mut finish) = ([0; 8], [0; 128]);
                handshake.read(noise, &mut theirs).ok()?;
                let len = handshake.write(&[], &mut finish).ok()?;
                let (_, keys) = handshake.finish()?;
                let theirs = u64::from_be_bytes(theirs);
                self.step = Step::Open { theirs, keys };
                Some(written(&Datagram::Finish {
                    session: theirs,
                    noise: &finish[..len],
                }))
            }
            _ => None,
        }
    }

    /// Any words, sealed as they should be. `None` without a session.
    pub fn says(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let Step::Open { theirs, keys } = &mut self.step else {
            return None;
        };
        let plain = &plain[..plain.len().min(MAX_CONTROL_BYTES)];
        let mut out = [0; MAX_DATAGRAM_BYTES];
        out[CONTROL_HEADER_BYTES..][..plain.len()].copy_from_slice(plain);
        let len = keys.seal(*theirs, &mut out, plain.len()).ok()?;
        Some(out[..len].to_vec())
    }

    /// What stands behind the prefix of a chunk, as a chunk of its own. `None` without a session.
    pub fn sends(&self, behind_prefix: &[u8]) -> Option<Vec<u8>> {
        let Step::Open { theirs, .. } = self.step else {
            return None;
        };
        Some([&chunk::prefix(theirs, 0, 0)[..], behind_prefix].concat())
    }
}

fn written(datagram: &Datagram<'_>) -> Vec<u8> {
    let mut out = [0; MAX_DATAGRAM_BYTES];
    let len = datagram.write(&mut out).expect("small ones");
    out[..len].to_vec()
}

/// docs/PROTOCOL.md, Sessions.
fn prologue(session: u64, tag: Tag) -> Vec<u8> {
    [&b"weir v1"[..], &session.to_be_bytes(), &tag.to_be_bytes()].concat()
}
