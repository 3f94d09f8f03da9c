//! Every vector of docs/PROTOCOL.md, which another implementation computed, against weir's own code.

use heapless::Vec as FixedVec;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use weir::coding::block::Code;
use weir::crypto::merkle::{Keys, Tree};
use weir::crypto::session::{Handshake, public_key};
use weir::crypto::sign::{SigningKey, Verifier};
use weir::wire::chunk::{Chunk, ChunkId, header, path_nodes, payload_offset, prefix, tag_of};
use weir::wire::datagram::{CONTROL_HEADER_BYTES, Datagram, control_header};
use weir::wire::descriptor::{self, Descriptor};
use weir::wire::framing;
use weir::wire::message::{self, Message, PeerHint, Reason, Standing, Wanted};
use weir::wire::seal::{self, BlockMark, Seal, SegmentStart, Unsealed};
use weir::wire::uri::{KeyText, Uri};

const DOCUMENT: &str = include_str!("../docs/PROTOCOL.md");

/// One fenced block of the document. Values that no check looked at make the test fail when it is dropped.
struct Vector {
    name: String,
    values: BTreeMap<String, String>,
    used: RefCell<BTreeSet<String>>,
}

impl Vector {
    #[track_caller]
    fn find(name: &str) -> Self {
        let fence = format!("```vector {name}\n");
        let (_, after) = DOCUMENT.split_once(&fence).expect(name);
        let (body, _) = after.split_once("```").expect("the fence is closed");
        let values = body.lines().map(|line| {
            let (key, value) = line.split_once('=').expect(line);
            (key.trim().to_string(), value.trim().to_string())
        });
        Self {
            name: name.to_string(),
            values: values.collect(),
            used: RefCell::default(),
        }
    }

    #[track_caller]
    fn text(&self, key: &str) -> &str {
        self.used.borrow_mut().insert(key.to_string());
        self.values
            .get(key)
            .unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    #[track_caller]
    fn hex(&self, key: &str) -> Vec<u8> {
        let digits = self.text(key);
        assert_eq!(digits.len() % 2, 0, "{key}");
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect(key))
            .collect()
    }

    #[track_caller]
    fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        self.hex(key).try_into().expect(key)
    }

    #[track_caller]
    fn u64(&self, key: &str) -> u64 {
        u64::from_be_bytes(self.array(key))
    }

    #[track_caller]
    fn is(&self, key: &str, bytes: &[u8]) {
        assert_eq!(self.hex(key), bytes, "{}: {key}", self.name);
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let all: BTreeSet<String> = self.values.keys().cloned().collect();
            assert_eq!(*self.used.borrow(), all, "{}: not all checked", self.name);
        }
    }
}

fn tag() -> u32 {
    tag_of(&SigningKey::from_seed(core::array::from_fn(|i| i as u8)).public())
}

/// The datagram as weir writes it; reading it gives the same meaning back.
fn written(datagram: &Datagram<'_>) -> Vec<u8> {
    let mut out = [0; 1_232];
    let len = datagram.write(&mut out).unwrap();
    let back = Datagram::parse(&out[..len]).unwrap();
    assert_eq!(format!("{back:?}"), format!("{datagram:?}"));
    out[..len].to_vec()
}

fn addresses() -> FixedVec<SocketAddr, 8> {
    ["192.0.2.1:8479", "[2001:db8::1]:8479"]
        .map(|text| text.parse().unwrap())
        .into_iter()
        .collect()
}

#[test]
fn every_vector_of_the_document_is_checked_here() {
    let named = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("```vector "));
    let mut named: Vec<&str> = named.collect();
    named.sort_unstable();
    let checked = [
        "block",
        "control",
        "cookie",
        "descriptor",
        "frame",
        "handshake",
        "hello",
        "messages",
        "seal",
        "try-these",
        "uri",
        "varint",
    ];
    assert_eq!(named, checked);
}

#[test]
fn a_uri() {
    let vector = Vector::find("uri");
    let text = vector.text("uri").trim_matches('"').to_string();
    let uri = Uri::parse(&text).unwrap();
    vector.is("key", &uri.key);
    assert!(uri.hosts().eq(["radio.example:8479", "[2001:db8::1]:8479"]));
    assert!(text.ends_with(KeyText::new(&uri.key).as_str()));
}

#[test]
fn what_is_said_before_a_session() {
    let vector = Vector::find("hello");
    let session = vector.u64("session");
    assert_eq!(vector.hex("tag"), tag().to_be_bytes());
    let hello = Datagram::Hello {
        session,
        tag: tag(),
    };
    vector.is("datagram", &written(&hello));

    let vector = Vector::find("cookie");
    let cookie = Datagram::Cookie {
        session: vector.u64("session"),
        cookie: vector.array("cookie"),
    };
    vector.is("datagram", &written(&cookie));

    let vector = Vector::find("try-these");
    let mut list = [0; 64];
    let len = message::write_try_these(&addresses(), &mut list).unwrap();
    vector.is("list", &list[..len]);
    assert_eq!(message::read_try_these(&list[..len]), Ok(addresses()));
    let try_these = Datagram::TryThese {
        session: vector.u64("session"),
        list: &list[..len],
    };
    vector.is("datagram", &written(&try_these));
}

#[test]
fn a_handshake_and_a_control_datagram() {
    let vector = Vector::find("handshake");
    let (calling, called) = (
        vector.u64("initiator session"),
        vector.u64("responder session"),
    );
    let prologue = [b"weir v1", &calling.to_be_bytes()[..], &tag().to_be_bytes()].concat();
    vector.is("prologue", &prologue);
    let side = |name: &str| {
        let secret = vector.array(&format!("{name} secret"));
        vector.is(&format!("{name} public"), &public_key(&secret));
        let ephemeral = vector.array(&format!("{name} ephemeral"));
        Handshake::new(name == "initiator", &secret, ephemeral, &prologue)
    };
    let (mut initiator, mut responder) = (side("initiator"), side("responder"));

    let mut wire = [0; 128];
    let len = initiator.write(&[], &mut wire).unwrap();
    vector.is("message 1", &wire[..len]);
    let initiate = Datagram::Initiate {
        session: calling,
        tag: tag(),
        cookie: Vector::find_cookie(),
        noise: &wire[..len],
    };
    vector.is("initiate", &written(&initiate));
    responder.read(&wire[..len], &mut []).unwrap();

    let len = responder.write(&called.to_be_bytes(), &mut wire).unwrap();
    vector.is("message 2", &wire[..len]);
    let reply = Datagram::Reply {
        session: calling,
        noise: &wire[..len],
    };
    vector.is("reply", &written(&reply));
    let mut payload = [0; 8];
    initiator.read(&wire[..len], &mut payload).unwrap();
    assert_eq!(payload, called.to_be_bytes());

    let len = initiator.write(&[], &mut wire).unwrap();
    vector.is("message 3", &wire[..len]);
    let finish = Datagram::Finish {
        session: called,
        noise: &wire[..len],
    };
    vector.is("finish", &written(&finish));
    responder.read(&wire[..len], &mut []).unwrap();

    let (their_key, mut ours) = initiator.finish().unwrap();
    let (our_key, mut theirs) = responder.finish().unwrap();
    vector.is("responder public", &their_key);
    vector.is("initiator public", &our_key);
    check_control(&vector, &mut ours, &mut theirs);
    // The key of the other direction opens nothing of this one, and is not shown: it is checked by what it seals.
    let from_responder = sealed_by(&mut theirs, calling);
    let expected = encrypted(&vector.array("key to initiator"), calling, 0, b"hello");
    assert_eq!(from_responder, expected);
}

impl Vector {
    fn find_cookie() -> [u8; 16] {
        let vector = Self::find("cookie");
        vector
            .used
            .borrow_mut()
            .extend(vector.values.keys().cloned());
        vector.array("cookie")
    }
}

type Session = weir::crypto::session::SessionKeys;

fn sealed_by(keys: &mut Session, session: u64) -> Vec<u8> {
    let mut buf = [0; 64];
    buf[CONTROL_HEADER_BYTES..][..5].copy_from_slice(b"hello");
    let len = keys.seal(session, &mut buf, 5).unwrap();
    buf[..len].to_vec()
}

/// ChaCha20-Poly1305 as the document describes it, with the cipher's own crate.
fn encrypted(key: &[u8; 32], session: u64, nonce: u64, plain: &[u8]) -> Vec<u8> {
    use chacha20poly1305::aead::AeadInPlace;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
    let mut nonce_bytes = [0; 12];
    nonce_bytes[4..].copy_from_slice(&nonce.to_le_bytes());
    let header = control_header(session, nonce);
    let mut text = plain.to_vec();
    let tag = ChaCha20Poly1305::new(key.into())
        .encrypt_in_place_detached(&nonce_bytes.into(), &header, &mut text)
        .unwrap();
    [&header[..], &text, &tag].concat()
}

fn check_control(handshake: &Vector, ours: &mut Session, theirs: &mut Session) {
    let vector = Vector::find("control");
    assert_eq!(vector.hex("key"), handshake.hex("key to responder"));
    let (session, nonce) = (vector.u64("session"), vector.u64("nonce"));
    assert_eq!(session, handshake.u64("responder session"));

    let mut plain = [0; 64];
    let messages = [
        Message::Ping {
            token: 0x1234,
            sent: 0x5678,
        },
        Message::Want {
            tag: tag(),
            wanted: Wanted::Descriptor,
        },
    ];
    let mut len = 0;
    for message in &messages {
        len += message.write(&mut plain[len..]).unwrap();
    }
    vector.is("plaintext", &plain[..len]);
    vector.is("header", &control_header(session, nonce));
    assert_eq!(vector.hex("aead nonce")[4..], nonce.to_le_bytes());
    let by_the_book = encrypted(&vector.array("key"), session, nonce, &plain[..len]);
    vector.is("datagram", &by_the_book);

    // As weir seals it, after as many others as the nonce says.
    let mut buf = [0; 128];
    for _ in 0..nonce {
        ours.seal(session, &mut buf, 0).unwrap();
    }
    buf[CONTROL_HEADER_BYTES..][..len].copy_from_slice(&plain[..len]);
    let total = ours.seal(session, &mut buf, len).unwrap();
    vector.is("datagram", &buf[..total]);

    let datagram = vector.hex("datagram");
    let Ok(Datagram::Control {
        nonce,
        header,
        sealed,
        ..
    }) = Datagram::parse(&datagram)
    else {
        panic!("no control datagram")
    };
    let mut opened = [0; 64];
    let n = theirs.open(nonce, header, sealed, &mut opened).unwrap();
    assert_eq!(opened[..n], plain[..len]);
    let again = theirs.open(nonce, header, sealed, &mut opened);
    assert!(again.is_err(), "a replay opens");
}

#[test]
fn numbers() {
    let vector = Vector::find("varint");
    let keys: Vec<String> = vector.values.keys().cloned().collect();
    for key in keys {
        // The 64-bit numbers of Have, and the 32-bit ones of Ping, stand bare behind the message's number.
        let number: u64 = key.parse().unwrap();
        let have = Message::Have {
            tag: 0,
            tail: number,
            head: 0,
            behind: FixedVec::new(),
        };
        let mut out = [0; 32];
        let len = have.write(&mut out).unwrap();
        vector.is(&key, &out[2..len - 2]);
        if let Ok(token) = u32::try_from(number) {
            let ping = Message::Ping { token, sent: 0 };
            let len = ping.write(&mut out).unwrap();
            vector.is(&key, &out[1..len - 1]);
        }
    }
}

#[test]
fn every_message() {
    let vector = Vector::find("messages");
    let key = SigningKey::from_seed(core::array::from_fn(|i| i as u8)).public();
    let tag = tag();
    let want = |wanted| Message::Want { tag, wanted };
    let hint = |addr| PeerHint { addr, home: 0b100 };
    let messages = [
        (
            "join",
            Message::Join {
                key,
                standing: Standing(Standing::FORWARDS | Standing::PLAYS),
                version: 300,
            },
        ),
        (
            "descriptor",
            Message::Descriptor {
                bytes: &[0xaa, 0xbb, 0xcc],
            },
        ),
        (
            "preamble",
            Message::Preamble {
                tag,
                version: 300,
                offset: 1_024,
                bytes: &[0xaa, 0xbb],
            },
        ),
        (
            "seal",
            Message::Seal {
                age_ms: 250,
                bytes: &[0xaa, 0xbb, 0xcc],
            },
        ),
        (
            "offer",
            Message::Offer {
                tag,
                stripes: 0b101,
                home: 0b100,
                hops: FixedVec::from_slice(&[0, 3]).unwrap(),
                places: 40,
            },
        ),
        (
            "subscribe",
            Message::Subscribe {
                tag,
                stripes: 0b111,
                spare: 0b100,
                seals: true,
                back_ms: 2_500,
            },
        ),
        (
            "grant",
            Message::Grant {
                tag,
                stripes: 0b011,
            },
        ),
        (
            "refuse",
            Message::Refuse {
                tag,
                stripes: 0b100,
                reason: Reason::Full,
                try_these: addresses(),
            },
        ),
        (
            "refuse unknown",
            Message::Refuse {
                tag,
                stripes: 0,
                reason: Reason::UnknownStream,
                try_these: FixedVec::new(),
            },
        ),
        (
            "unsubscribe",
            Message::Unsubscribe {
                tag,
                stripes: 0b001,
            },
        ),
        (
            "have",
            Message::Have {
                tag,
                tail: 900,
                head: 1_000,
                behind: FixedVec::from_slice(&[0, 1, 255]).unwrap(),
            },
        ),
        ("want descriptor", want(Wanted::Descriptor)),
        (
            "want preamble",
            want(Wanted::Preamble {
                version: 300,
                offset: 1_024,
            }),
        ),
        (
            "want seals",
            want(Wanted::Seals {
                first: 1_000,
                count: 64,
            }),
        ),
        (
            "want chunks",
            want(Wanted::Chunks {
                block: 1_000,
                stripes: 0b110,
            }),
        ),
        ("want peers", want(Wanted::Peers)),
        ("want news", want(Wanted::News)),
        ("want title", want(Wanted::Title { mark: 1 })),
        (
            "peer exchange",
            Message::PeerExchange {
                tag,
                peers: addresses().into_iter().map(hint).collect(),
            },
        ),
        (
            "audience",
            Message::Audience {
                tag,
                listeners: 1_234,
            },
        ),
        (
            "ping",
            Message::Ping {
                token: u32::MAX,
                sent: 0xff_ffff,
            },
        ),
        (
            "pong",
            Message::Pong {
                token: u32::MAX,
                delay: 300,
                waited: 1_000,
            },
        ),
        (
            "bye",
            Message::Bye {
                reason: Reason::Leaving,
            },
        ),
        (
            "lack",
            Message::Lack {
                tag,
                block: 1_000,
                stripes: 0b110,
            },
        ),
    ];
    for (name, message) in messages {
        let mut out = [0; 128];
        let len = message.write(&mut out).unwrap();
        vector.is(name, &out[..len]);
        let (back, rest) = Message::take(&out[..len]).unwrap();
        assert_eq!((back, rest.len()), (message, 0), "{name}");
    }
}

#[test]
fn a_descriptor() {
    let vector = Vector::find("descriptor");
    let signer = SigningKey::from_seed(vector.array("seed"));
    vector.is("key", &signer.public());
    let bytes = vector.hex("descriptor");
    let (card, signed, signature) = Descriptor::parse(&bytes).unwrap();
    let preamble = vector.hex("preamble");
    assert_eq!(card.preamble_hash, *blake3::hash(&preamble).as_bytes());
    assert_eq!(card.preamble_bytes as usize, preamble.len());
    assert_eq!(
        (card.k, card.n, card.chunk_bytes, card.group_ms),
        (2, 3, 600, 500)
    );
    assert_eq!((card.version, card.first_block), (1_700_000_000, 1_000));
    assert_eq!(
        (&*card.title, &*card.content_type),
        ("Radio Weir", "audio/ogg")
    );

    vector.is("signed hash", &signed_hash(descriptor::DOMAIN, &[signed]));
    let verifier = Verifier::new(&card.key).unwrap();
    assert_eq!(
        verifier.verify(descriptor::DOMAIN, &[signed], &signature),
        Ok(())
    );
    assert_eq!(signer.sign(descriptor::DOMAIN, &[signed]), signature);
    let mut out = [0; 1_024];
    let len = card.write(&mut out).unwrap();
    assert_eq!(&out[..len], signed);
}

/// What the document says is signed, with BLAKE3's own crate.
fn signed_hash(purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    for part in parts {
        hasher.update(&(part.len() as u32).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[test]
fn a_block_and_its_seal() {
    let vector = Vector::find("block");
    let sealed = Vector::find("seal");
    let signer = SigningKey::from_seed(sealed.array("seed"));
    let key = signer.public();
    let keys = Keys::new(&key);
    for (name, context) in [
        ("leaf key", "weir v1 merkle leaf"),
        ("node key", "weir v1 merkle node"),
    ] {
        vector.is(name, &blake3::derive_key(context, &key));
    }

    let media = vector.hex("media");
    let (k, n, size) = (2, 3, media.len().div_ceil(2));
    assert_eq!((path_nodes(n), payload_offset(n)), (2, 13 + 32));
    let mut padded = media.clone();
    padded.resize(usize::from(k) * size, 0);
    let data: Vec<&[u8]> = padded.chunks(size).collect();
    let code = Code::new(k, n).unwrap();
    let payloads = [0, 1, 2].map(|index| {
        let mut payload = vec![0; size];
        code.encode_parity(&data, index, &mut payload).unwrap();
        payload
    });
    let headers = [0, 1, 2].map(|index| {
        header(
            tag(),
            ChunkId {
                block: 1_000,
                index,
            },
        )
    });
    let leaves = [0, 1, 2].map(|i: usize| keys.leaf(&headers[i], &payloads[i]));
    let tree = Tree::build(&keys, &leaves);
    vector.is("root", &tree.root());
    for index in 0..3u8 {
        let i = usize::from(index);
        let mut path = [0; 32];
        assert_eq!(tree.path(index, &mut path), 32);
        let chunk = [&headers[i][..], &path, &payloads[i]].concat();
        vector.is(&format!("leaf {index}"), &leaves[i]);
        vector.is(&format!("chunk {index}"), &chunk);
        assert_eq!(
            Chunk::parse(&chunk).unwrap().id,
            ChunkId {
                block: 1_000,
                index
            }
        );
    }

    let front = prefix(0x0102_0304_0506_0708, 0x12_3456 << 4, 2);
    vector.is("prefix", &front);
    let datagram = vector.hex("datagram 0");
    assert_eq!(datagram, [&front[..], &vector.hex("chunk 0")].concat());
    let parsed = Datagram::parse(&datagram).unwrap();
    assert!(matches!(
        parsed,
        Datagram::Chunk {
            session: 0x0102_0304_0506_0708,
            sent: 0x12_3456,
            behind: 2,
            ..
        }
    ));

    check_seal(
        &sealed,
        &signer,
        BlockMark {
            root: tree.root(),
            length_bytes: media.len() as u16,
            sync: 0,
            cut: 4,
        },
    );
}

const SEGMENT: SegmentStart = SegmentStart {
    index: 0,
    number: 830_078_125,
    discontinuities: 1_700_000_000,
    time_us: 2_000_000,
};

fn check_seal(vector: &Vector, signer: &SigningKey, mark: BlockMark) {
    let key = signer.public();
    let unsealed = Unsealed {
        tag: tag(),
        version: 1_700_000_000,
        first_block: 1_000,
        clock_ms: 1_700_000_000_000,
        metadata: Some("A – B"),
        segment: Some(SEGMENT),
        marks: &[mark],
    };
    let mut out = [0; 256];
    let len = unsealed.write(&mut out).unwrap();
    let parts: [&[u8]; 2] = [&key, &out[..len]];
    vector.is("signed hash", &signed_hash(seal::DOMAIN, &parts));
    let whole = [&out[..len], &signer.sign(seal::DOMAIN, &parts)].concat();
    vector.is("seal", &whole);

    let back = Seal::parse(&whole).unwrap();
    assert!(back.blocks().eq([(1_000, mark)]));
    let flags = seal::HAS_METADATA | seal::BEGINS_SEGMENT;
    assert_eq!((back.metadata, back.flags), ("A – B", flags));
    assert_eq!(back.segment, Some(SEGMENT));
    let verifier = Verifier::new(&key).unwrap();
    let verified = verifier.verify(seal::DOMAIN, &[&key, back.signed], &back.signature);
    assert_eq!(verified, Ok(()));
}

#[test]
fn a_frame() {
    let vector = Vector::find("frame");
    let mut frame = [0; 32];
    let len = framing::encode(&vector.hex("datagram"), &mut frame).unwrap();
    vector.is("frame", &frame[..len]);
    let bytes = vector.hex("frame");
    let mut decoder = framing::Decoder::new();
    let decoded = decoder.next_datagram(&mut &bytes[..]).map(<[u8]>::to_vec);
    assert_eq!(decoded, Some(vector.hex("datagram")));
}
