//! Service discovery on a LAN: the little of multicast DNS (RFC 6762) and DNS-SD (RFC 6763) that says "here is a weir node
//! with this page, carrying these streams", and understands others that say so. From and to slices, without allocation.

use super::bytes::{Reader, Writer};
use crate::error::{Full, Malformed};
use core::fmt::Write;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use heapless::{String, Vec};

/// Where everybody listens (RFC 6762 section 3).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// And here, over IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// On this port.
pub const PORT: u16 = 5353;

/// Longest message written or taken in: it fits one frame of Ethernet.
pub const MAX_MESSAGE_BYTES: usize = 1_472;

/// Longest name of an instance: one label.
pub const MAX_LABEL_BYTES: usize = 63;

/// A stream on the LAN is known by the beginning of its key in base32.
pub const TAG_BYTES: usize = 16;

/// Streams named in one answer at most; a node carries no more.
pub const MAX_TAGS: usize = 4;

/// The beginning of a stream's key in base32, lower case.
pub type Tag = String<TAG_BYTES>;

/// Longest name as text (RFC 1035 section 3.1 has 255 bytes on the wire).
const MAX_NAME_BYTES: usize = 255;

/// Pointers followed in one name; honest names have a few.
const MAX_POINTERS: usize = 16;

/// Questions and records looked at in one message.
const MAX_ITEMS: usize = 64;

const WEIR: &str = "_weir._udp.local";
const HTTP: &str = "_http._tcp.local";
/// Lists the kinds of services there are (RFC 6763 section 9).
const KINDS: &str = "_services._dns-sd._udp.local";

/// How long an answer holds, in seconds: records that name the host, and others (RFC 6762 section 10).
const HOST_TTL_S: u32 = 120;
const OTHER_TTL_S: u32 = 4_500;
/// Longest that an answer to a plain DNS resolver holds (section 6.7).
const LEGACY_TTL_S: u32 = 10;

const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_TXT: u16 = 16;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
/// In a question: answer to me alone. In a record: what was known before is void.
const TOP_BIT: u16 = 0x8000;
/// A response, authoritative (section 18).
const RESPONSE: u16 = 0x8400;

type Name = String<MAX_NAME_BYTES>;

/// What a node says of itself on one network.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its name, one label, unique by its key: `weir-` and the beginning of the node's key.
    pub instance: String<MAX_LABEL_BYTES>,
    /// Its address there.
    pub v4: Option<Ipv4Addr>,
    /// Its address there, if it has one that is good beyond the link and not beyond the house (RFC 4193).
    pub v6: Option<Ipv6Addr>,
    /// Its UDP port, if nodes of the LAN can reach it.
    pub udp: Option<u16>,
    /// Its page's port, if the LAN can reach that.
    pub http: Option<u16>,
    /// The streams it carries.
    pub tags: Vec<Tag, MAX_TAGS>,
}

/// A question that a card answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked<'a> {
    /// Its message's id.
    pub id: u16,
    /// The first question as it came, for a resolver that wants it back.
    pub question: &'a [u8],
}

/// Another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Where it says it is; nothing: where it was heard from.
    pub address: Option<IpAddr>,
    /// Its UDP port.
    pub port: u16,
    /// The streams it names; empty if it names none (a hand-written service file does not).
    pub tags: Vec<Tag, MAX_TAGS>,
}

/// Writes the question for other nodes; returns its length.
pub fn write_query(out: &mut [u8]) -> Result<usize, Full> {
    let mut out = Writer::new(out);
    header(&mut out, 0, 0, 1, [0, 0])?;
    name(&mut out, &[], WEIR)?;
    out.put(&TYPE_PTR.to_be_bytes())?;
    out.put(&CLASS_IN.to_be_bytes())?;
    Ok(out.len())
}

/// How an answer is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner<'a> {
    /// To everybody.
    Multicast,
    /// To everybody: it is no longer so.
    Goodbye,
    /// To a plain DNS resolver that asked from another port, with its question (section 6.7).
    Legacy(Asked<'a>),
}

/// Writes all that a card says; returns its length.
pub fn write_answer(card: &Card, manner: Manner<'_>, out: &mut [u8]) -> Result<usize, Full> {
    let mut out = Writer::new(out);
    // For each service: the kind, the instance, where, and what of it; and the addresses.
    let records = card.services().count() * 4 + card.addresses().count();
    match manner {
        Manner::Legacy(asked) => {
            header(&mut out, asked.id, RESPONSE, 1, [records, 0])?;
            out.put(asked.question)?;
        }
        _ => header(&mut out, 0, RESPONSE, 0, [records, 0])?,
    }
    let ttl_s = |usual: u32| match manner {
        Manner::Multicast => usual,
        Manner::Goodbye => 0,
        Manner::Legacy(_) => LEGACY_TTL_S,
    };
    let unique = match manner {
        Manner::Legacy(_) => CLASS_IN,
        _ => CLASS_IN | TOP_BIT,
    };
    let instance = card.instance.as_str();
    for (service, port) in card.services() {
        record(
            &mut out,
            &[],
            KINDS,
            TYPE_PTR,
            CLASS_IN,
            ttl_s(OTHER_TTL_S),
            |out| name(out, &[], service),
        )?;
        record(
            &mut out,
            &[],
            service,
            TYPE_PTR,
            CLASS_IN,
            ttl_s(OTHER_TTL_S),
            |out| name(out, &[instance], service),
        )?;
        record(
            &mut out,
            &[instance],
            service,
            TYPE_SRV,
            unique,
            ttl_s(HOST_TTL_S),
            |out| card.place(port, out),
        )?;
        record(
            &mut out,
            &[instance],
            service,
            TYPE_TXT,
            unique,
            ttl_s(OTHER_TTL_S),
            |out| match service {
                WEIR => {
                    string(out, "txtvers=", "1")?;
                    card.tags
                        .iter()
                        .try_for_each(|tag| string(out, "stream=", tag))
                }
                _ => string(out, "path=", "/"),
            },
        )?;
    }
    card.put_addresses(unique, ttl_s(HOST_TTL_S), &mut out)?;
    Ok(out.len())
}

/// Writes the question whether anybody else has the names of a card, with what it would say of them (RFC 6762 section 8.1);
/// returns its length.
pub fn write_probe(card: &Card, out: &mut [u8]) -> Result<usize, Full> {
    let mut out = Writer::new(out);
    let services = card.services().count();
    let records = services + card.addresses().count();
    header(&mut out, 0, 0, services + 1, [0, records])?;
    let instance = card.instance.as_str();
    let hosts = core::iter::once("local");
    for rest in card.services().map(|(service, _)| service).chain(hosts) {
        name(&mut out, &[instance], rest)?;
        out.put(&TYPE_ANY.to_be_bytes())?;
        out.put(&(CLASS_IN | TOP_BIT).to_be_bytes())?;
    }
    for (service, port) in card.services() {
        let (kind, ttl_s) = (TYPE_SRV, HOST_TTL_S);
        record(
            &mut out,
            &[instance],
            service,
            kind,
            CLASS_IN,
            ttl_s,
            |out| card.place(port, out),
        )?;
    }
    card.put_addresses(CLASS_IN, HOST_TTL_S, &mut out)?;
    Ok(out.len())
}

fn header(
    out: &mut Writer<'_>,
    id: u16,
    flags: u16,
    questions: usize,
    [answers, authorities]: [usize; 2],
) -> Result<(), Full> {
    // A handful each.
    let counts = [questions, answers, authorities].map(|count| count as u16);
    let [questions, answers, authorities] = counts;
    for field in [id, flags, questions, answers, authorities, 0] {
        out.put(&field.to_be_bytes())?;
    }
    Ok(())
}

/// Labels, then the labels of `rest`, which are joined by dots.
fn name(out: &mut Writer<'_>, labels: &[&str], rest: &str) -> Result<(), Full> {
    for label in labels.iter().copied().chain(rest.split('.')) {
        // One label each: shorter than 64 bytes by their types.
        out.put(&[label.len() as u8])?;
        out.put(label.as_bytes())?;
    }
    out.put(&[0])
}

/// A string of a TXT record (RFC 6763 section 6.1): shorter than 256 bytes here.
fn string(out: &mut Writer<'_>, key: &str, value: &str) -> Result<(), Full> {
    out.put(&[(key.len() + value.len()) as u8])?;
    out.put(key.as_bytes())?;
    out.put(value.as_bytes())
}

fn record(
    out: &mut Writer<'_>,
    labels: &[&str],
    rest: &str,
    kind: u16,
    class: u16,
    ttl_s: u32,
    data: impl Fn(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    name(out, labels, rest)?;
    out.put(&kind.to_be_bytes())?;
    out.put(&class.to_be_bytes())?;
    out.put(&ttl_s.to_be_bytes())?;
    let mut room = [0; 512];
    let mut written = Writer::new(&mut room);
    data(&mut written)?;
    let len = written.len();
    out.put(&(len as u16).to_be_bytes())?;
    out.put(room.get(..len).unwrap_or(&[]))
}

/// A message taken in. Nothing in it is believed beyond its own bytes.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    id: u16,
    is_response: bool,
    /// Somebody would like to have a name (section 8.1).
    is_probe: bool,
    questions: usize,
    records: usize,
}

/// A record as it stands in a message.
struct Record<'a> {
    name: Name,
    kind: u16,
    ttl_s: u32,
    /// Where its data begins in the message: names in it may point back.
    at: usize,
    data: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a header.
    ///
    /// # Errors
    /// `Malformed::Short` for less than a header, `Malformed::Kind` for an operation other than a query.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let mut field = || reader.array().map(u16::from_be_bytes);
        let (id, flags, questions) = (field()?, field()?, field()?);
        let records = [field()?, field()?, field()?].map(usize::from);
        if flags & 0x7800 != 0 {
            return Err(Malformed::Kind);
        }
        Ok(Self {
            bytes,
            id,
            is_response: flags & 0x8000 != 0,
            is_probe: flags & 0x8000 == 0 && records[1] > 0,
            questions: usize::from(questions),
            records: records.iter().sum(),
        })
    }

    /// Whether it says something; else it asks.
    pub fn is_response(&self) -> bool {
        self.is_response
    }

    /// Whether it asks because the one who asks would like to have the name.
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// Who else has the name of `card`, by the address he gives it, or would like to have it at the same time and comes first
    /// (section 8.2: the one whose record is the later in order). What this box said itself is no contest: it is the same.
    pub fn contests(&self, card: &Card) -> Result<Option<IpAddr>, Malformed> {
        let mut rival = None;
        self.each_record(|record| {
            let octets: Option<&[u8; 4]> = record.data.first_chunk();
            let octets_v6: Option<&[u8; 16]> = record.data.first_chunk();
            let (ours, theirs) = match record.kind {
                TYPE_A => (card.v4.map(IpAddr::V4), octets.map(|ip| IpAddr::from(*ip))),
                TYPE_AAAA => (
                    card.v6.map(IpAddr::V6),
                    octets_v6.map(|ip| IpAddr::from(*ip)),
                ),
                _ => return,
            };
            let is_about_us = record.ttl_s > 0 && card.is_host(&record.name);
            let comes_first = !self.is_probe || theirs > ours;
            if is_about_us && ours.is_some() && theirs != ours && comes_first {
                rival = theirs;
            }
        })?;
        Ok(rival.filter(|_| self.is_response || self.is_probe))
    }

    /// The question that `card` answers, unless the one who asks knows the answer already (section 7.1).
    pub fn asks(&self, card: &Card) -> Result<Option<Asked<'a>>, Malformed> {
        let mut at = 12;
        let (mut is_for_us, mut only_lists) = (false, true);
        let mut first = None;
        for _ in 0..self.questions.min(MAX_ITEMS) {
            let begin = at;
            let (name, kind);
            (name, at) = self.name(at)?;
            (kind, at) = self.u16(at)?;
            (_, at) = self.u16(at)?;
            first = first.or(self.bytes.get(begin..at));
            if card.answers(&name, kind) {
                is_for_us = true;
                only_lists &= kind == TYPE_PTR;
            }
        }
        if self.is_response || !is_for_us || only_lists && self.knows(card)? {
            return Ok(None);
        }
        // A question with a pointer in its name cannot be repeated elsewhere; it is the first name, so none has one.
        let question = first.unwrap_or(&[]);
        Ok(Some(Asked {
            id: self.id,
            question,
        }))
    }

    /// Whether all instances of `card` are among the answers that it brings along, and for long enough.
    fn knows(&self, card: &Card) -> Result<bool, Malformed> {
        let mut known = 0;
        self.each_record(|record| {
            let is_fresh = record.kind == TYPE_PTR && record.ttl_s >= OTHER_TTL_S / 2;
            let instance = self.name(record.at).map(|(name, _)| name);
            if is_fresh && instance.is_ok_and(|name| card.is_instance(&name)) {
                known += 1;
            }
        })?;
        Ok(known >= card.services().count())
    }

    /// Tells every other node that is named with its port and does not say goodbye; `own` is not told of.
    pub fn nodes(&self, own: &Card, mut tell: impl FnMut(&Found)) -> Result<(), Malformed> {
        self.each_record(|srv| {
            let is_node = srv.kind == TYPE_SRV && srv.ttl_s > 0 && is_below(&srv.name, WEIR);
            let (Some(port), true) = (srv.data.get(4..6), is_node && !own.is_instance(&srv.name))
            else {
                return;
            };
            let Ok((host, _)) = self.name(srv.at + 6) else {
                return;
            };
            let mut found = Found {
                address: None,
                port: u16::from_be_bytes([port[0], port[1]]),
                tags: Vec::new(),
            };
            // Its end was reached before without an error.
            let _ = self.each_record(|record| found.learn(&record, &srv.name, &host));
            if found.port != 0 {
                tell(&found);
            }
        })
    }

    fn each_record(&self, mut tell: impl FnMut(Record<'a>)) -> Result<(), Malformed> {
        let mut at = 12;
        for _ in 0..self.questions.min(MAX_ITEMS) {
            (_, at) = self.name(at)?;
            at += 4;
        }
        for _ in 0..self.records.min(MAX_ITEMS) {
            let (name, kind, upper, lower, len);
            (name, at) = self.name(at)?;
            (kind, at) = self.u16(at)?;
            (_, at) = self.u16(at)?;
            (upper, at) = self.u16(at)?;
            (lower, at) = self.u16(at)?;
            (len, at) = self.u16(at)?;
            let end = at + usize::from(len);
            let data = self.bytes.get(at..end).ok_or(Malformed::Short)?;
            tell(Record {
                name,
                kind,
                ttl_s: u32::from(upper) << 16 | u32::from(lower),
                at,
                data,
            });
            at = end;
        }
        Ok(())
    }

    fn u16(&self, at: usize) -> Result<(u16, usize), Malformed> {
        let bytes = self.bytes.get(at..at + 2).ok_or(Malformed::Short)?;
        Ok((u16::from_be_bytes([bytes[0], bytes[1]]), at + 2))
    }

    /// The name at `at` in lower case, its labels joined by dots, and what follows it (RFC 1035 section 4.1.4).
    fn name(&self, mut at: usize) -> Result<(Name, usize), Malformed> {
        let mut text = Name::new();
        let mut after = None;
        let mut pointers = 0;
        loop {
            let len = *self.bytes.get(at).ok_or(Malformed::Short)?;
            match len {
                0 => return Ok((text, after.unwrap_or(at + 1))),
                1..=63 => {
                    let end = at + 1 + usize::from(len);
                    let label = self.bytes.get(at + 1..end).ok_or(Malformed::Short)?;
                    let label = core::str::from_utf8(label).map_err(|_| Malformed::Field)?;
                    if !text.is_empty() {
                        text.push('.').map_err(|_| Malformed::Long)?;
                    }
                    for c in label.chars() {
                        text.push(c.to_ascii_lowercase())
                            .map_err(|_| Malformed::Long)?;
                    }
                    at = end;
                }
                192.. => {
                    let low = *self.bytes.get(at + 1).ok_or(Malformed::Short)?;
                    after = after.or(Some(at + 2));
                    pointers += 1;
                    if pointers > MAX_POINTERS {
                        return Err(Malformed::Long);
                    }
                    at = usize::from(len & 63) << 8 | usize::from(low);
                }
                _ => return Err(Malformed::Kind),
            }
        }
    }
}

impl Card {
    /// What it announces, each at a port.
    fn services(&self) -> impl Iterator<Item = (&'static str, u16)> {
        let all = [(WEIR, self.udp), (HTTP, self.http)];
        all.into_iter()
            .filter_map(|(name, port)| Some((name, port?)))
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let all = [self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6)];
        all.into_iter().flatten()
    }

    /// Data of an SRV record: priority and weight say nothing here.
    fn place(&self, port: u16, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put(&[0; 4])?;
        out.put(&port.to_be_bytes())?;
        name(out, &[&self.instance], "local")
    }

    fn put_addresses(&self, class: u16, ttl_s: u32, out: &mut Writer<'_>) -> Result<(), Full> {
        self.addresses().try_for_each(|ip| {
            let kind = if ip.is_ipv4() { TYPE_A } else { TYPE_AAAA };
            let data = |out: &mut Writer<'_>| match ip {
                IpAddr::V4(ip) => out.put(&ip.octets()),
                IpAddr::V6(ip) => out.put(&ip.octets()),
            };
            record(out, &[&self.instance], "local", kind, class, ttl_s, data)
        })
    }

    fn answers(&self, name: &str, kind: u16) -> bool {
        let any = kind == TYPE_ANY;
        let service = name == WEIR && self.udp.is_some() || name == HTTP && self.http.is_some();
        match kind {
            TYPE_PTR if service || name == KINDS => true,
            TYPE_SRV | TYPE_TXT => self.is_instance(name),
            TYPE_A => self.v4.is_some() && self.is_host(name),
            TYPE_AAAA => self.v6.is_some() && self.is_host(name),
            _ => any && (service || self.is_instance(name) || self.is_host(name)),
        }
    }

    fn is_instance(&self, name: &str) -> bool {
        let rest = strip_label(name, &self.instance);
        rest == Some(WEIR) || rest == Some(HTTP)
    }

    fn is_host(&self, name: &str) -> bool {
        strip_label(name, &self.instance) == Some("local")
    }
}

fn strip_label<'n>(name: &'n str, label: &str) -> Option<&'n str> {
    name.strip_prefix(label)?.strip_prefix('.')
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .is_some_and(|rest| rest.ends_with('.'))
}

impl Found {
    fn learn(&mut self, record: &Record<'_>, instance: &str, host: &str) {
        match record.kind {
            TYPE_A if record.name == *host => {
                let octets: Option<&[u8; 4]> = record.data.first_chunk();
                self.address = octets.map(|octets| IpAddr::from(*octets));
            }
            // Of two, the one that everybody has.
            TYPE_AAAA if record.name == *host && self.address.is_none() => {
                let octets: Option<&[u8; 16]> = record.data.first_chunk();
                self.address = octets.map(|octets| IpAddr::from(*octets));
            }
            TYPE_TXT if record.name == *instance => {
                let mut rest = record.data;
                while let Some((len, tail)) = rest.split_first() {
                    let Some((string, tail)) = tail.split_at_checked(usize::from(*len)) else {
                        return;
                    };
                    let tag = core::str::from_utf8(string).ok();
                    if let Some(tag) = tag.and_then(|string| string.strip_prefix("stream=")) {
                        // More streams than a node carries are no streams of ours.
                        let _ = tag_of(tag).map(|tag| self.tags.push(tag));
                    }
                    rest = tail;
                }
            }
            _ => {}
        }
    }
}

/// The tag of a stream's key in base32.
pub fn tag_of(key: &str) -> Option<Tag> {
    let mut tag = Tag::new();
    for c in key.get(..TAG_BYTES)?.chars() {
        tag.push(c.to_ascii_lowercase()).ok()?;
    }
    Some(tag)
}

/// The name of a node's instance, by the short form of its key, and by a number where another has the same: two boxes from
/// one copied disk have one key.
pub fn instance(short_id: &str, number: u32) -> String<MAX_LABEL_BYTES> {
    let mut name = String::new();
    // A short id is 13 letters.
    let _ = write!(name, "weir-{short_id}");
    if number > 1 {
        let _ = write!(name, "-{number}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::vec::Vec as StdVec;

    fn card(id: &str) -> Card {
        let tags = ["abcdefghijklmnopqrst", "bbbbbbbbbbbbbbbbbbbb"];
        Card {
            instance: instance(id, 1),
            v4: Some(Ipv4Addr::new(192, 168, 1, 7)),
            v6: None,
            udp: Some(8_479),
            http: Some(8_480),
            tags: tags.iter().filter_map(|key| tag_of(key)).collect(),
        }
    }

    fn written(write: impl FnOnce(&mut [u8]) -> Result<usize, Full>) -> StdVec<u8> {
        let mut buf = [0; MAX_MESSAGE_BYTES];
        let len = write(&mut buf).unwrap();
        buf[..len].to_vec()
    }

    fn found(bytes: &[u8], own: &Card) -> StdVec<Found> {
        let mut all = StdVec::new();
        let message = Message::parse(bytes).unwrap();
        message.nodes(own, |found| all.push(found.clone())).unwrap();
        all
    }

    /// A query as others write it: names, types, and the instances they know.
    fn query(names: &[(&str, u16)], known: &[(&str, u32)]) -> StdVec<u8> {
        written(|out| {
            let mut out = Writer::new(out);
            header(&mut out, 7, 0, names.len(), [known.len(), 0])?;
            for (text, kind) in names {
                name(&mut out, &[], text)?;
                out.put(&kind.to_be_bytes())?;
                out.put(&CLASS_IN.to_be_bytes())?;
            }
            for (instance, ttl_s) in known {
                let data = |out: &mut Writer<'_>| name(out, &[], instance);
                record(&mut out, &[], WEIR, TYPE_PTR, CLASS_IN, *ttl_s, data)?;
            }
            Ok(out.len())
        })
    }

    #[test]
    fn one_node_asks_and_the_other_is_found() {
        let (ours, theirs) = (card("aaa"), card("bbb"));
        let asked = written(write_query);
        let asked = Message::parse(&asked).unwrap().asks(&theirs).unwrap();
        assert!(asked.is_some());
        let answer = written(|out| write_answer(&theirs, Manner::Multicast, out));
        let nodes = found(&answer, &ours);
        assert_eq!(nodes.len(), 1);
        assert_eq!(
            (nodes[0].address, nodes[0].port, nodes[0].tags.len()),
            (theirs.v4.map(IpAddr::V4), 8_479, 2)
        );
        assert_eq!(nodes[0].tags[0], "abcdefghijklmnop");
        assert_eq!(found(&answer, &theirs), [], "nobody finds itself");
        let goodbye = written(|out| write_answer(&theirs, Manner::Goodbye, out));
        assert_eq!(found(&goodbye, &ours), []);
    }

    #[test]
    fn only_what_is_here_is_answered_and_what_is_known_is_not() {
        let card = card("aaa");
        let answered = |names: &[(&str, u16)], known: &[(&str, u32)]| {
            let bytes = query(names, known);
            Message::parse(&bytes)
                .unwrap()
                .asks(&card)
                .unwrap()
                .is_some()
        };
        for (name, kind) in [
            ("_weir._udp.local", TYPE_PTR),
            ("_HTTP._tcp.LOCAL", TYPE_PTR),
            ("_services._dns-sd._udp.local", TYPE_PTR),
            ("weir-aaa._weir._udp.local", TYPE_SRV),
            ("weir-aaa._http._tcp.local", TYPE_TXT),
            ("weir-aaa.local", TYPE_A),
            ("weir-aaa.local", TYPE_ANY),
        ] {
            assert!(answered(&[(name, kind)], &[]), "{name}");
        }
        for (name, kind) in [
            ("_ipp._tcp.local", TYPE_PTR),
            ("weir-bbb._weir._udp.local", TYPE_SRV),
            ("weir-aaa.local", TYPE_SRV),
            ("x.weir-aaa.local", TYPE_A),
            ("weir-aaa.local", 28),
        ] {
            assert!(!answered(&[(name, kind)], &[]), "{name}");
        }
        let both = |ttl_s| {
            [
                ("weir-aaa._weir._udp.local", ttl_s),
                ("weir-aaa._http._tcp.local", ttl_s),
            ]
        };
        assert!(!answered(&[(WEIR, TYPE_PTR)], &both(4_000)));
        assert!(
            answered(&[(WEIR, TYPE_PTR)], &both(2_000)),
            "it is about to be forgotten"
        );
        assert!(answered(&[(WEIR, TYPE_PTR)], &both(4_000)[..1]));
        let mut quiet = card.clone();
        (quiet.udp, quiet.http) = (None, None);
        assert!(
            Message::parse(&query(&[(WEIR, TYPE_PTR)], &[]))
                .unwrap()
                .asks(&quiet)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_name_is_asked_for_before_it_is_taken() {
        let (mut ours, mut theirs) = (card("aaa"), card("aaa"));
        theirs.v4 = Some(Ipv4Addr::new(192, 168, 1, 9));
        let probe = |card: &Card| written(|out| write_probe(card, out));
        let (first, second) = (probe(&ours), probe(&theirs));
        let heard = Message::parse(&first).unwrap();
        assert!(heard.is_probe() && !heard.is_response());
        assert!(
            heard.asks(&theirs).unwrap().is_some(),
            "who has the name says so"
        );
        // Both ask at once: the later in order has it. What one said oneself is no contest.
        assert_eq!(heard.contests(&theirs), Ok(None));
        assert_eq!(heard.contests(&ours), Ok(None));
        let heard = Message::parse(&second).unwrap();
        assert_eq!(heard.contests(&ours), Ok(theirs.v4.map(IpAddr::V4)));
        // Who has it, has it.
        let taken = written(|out| write_answer(&ours, Manner::Multicast, out));
        let rival = Message::parse(&taken).unwrap().contests(&theirs);
        assert_eq!(rival, Ok(ours.v4.map(IpAddr::V4)));
        let left = written(|out| write_answer(&ours, Manner::Goodbye, out));
        assert_eq!(Message::parse(&left).unwrap().contests(&theirs), Ok(None));
        // Another name is another's.
        ours.instance = instance("aaa", 2);
        assert_eq!(ours.instance, "weir-aaa-2");
        assert_eq!(Message::parse(&second).unwrap().contests(&ours), Ok(None));
    }

    #[test]
    fn a_network_without_ipv4_has_addresses_too() {
        let mut only_v6 = card("bbb");
        let ip: Ipv6Addr = "fd00::7".parse().unwrap();
        (only_v6.v4, only_v6.v6) = (None, Some(ip));
        let answer = written(|out| write_answer(&only_v6, Manner::Multicast, out));
        assert_eq!(found(&answer, &card("aaa"))[0].address, Some(ip.into()));
        let asked = query(&[("weir-bbb.local", TYPE_AAAA)], &[]);
        let asked = Message::parse(&asked).unwrap();
        assert!(asked.asks(&only_v6).unwrap().is_some());
        assert!(asked.asks(&card("bbb")).unwrap().is_none());
        only_v6.v4 = Some(Ipv4Addr::new(10, 0, 0, 1));
        let answer = written(|out| write_answer(&only_v6, Manner::Multicast, out));
        let address = found(&answer, &card("aaa"))[0].address;
        assert_eq!(address, only_v6.v4.map(IpAddr::V4));
    }

    #[test]
    fn a_plain_resolver_gets_its_question_back() {
        let bytes = query(&[("weir-aaa.local", TYPE_A)], &[]);
        let card = card("aaa");
        let asked = Message::parse(&bytes)
            .unwrap()
            .asks(&card)
            .unwrap()
            .unwrap();
        let answer = written(|out| write_answer(&card, Manner::Legacy(asked), out));
        assert_eq!(&answer[..2], &bytes[..2]);
        assert_eq!(&answer[12..bytes.len()], &bytes[12..]);
    }

    #[test]
    fn names_may_point_back_and_never_in_circles() {
        // SRV of x._weir._udp.local to port 5 on x.local, compressed as avahi does.
        let mut bytes = StdVec::from([0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        bytes.extend(b"\x01x\x05_weir\x04_udp\x05local\x00");
        bytes.extend([
            0, 33, 0x80, 1, 0, 0, 0, 120, 0, 10, 0, 0, 0, 0, 0, 5, 1, b'x', 0xc0, 25,
        ]);
        let nodes = found(&bytes, &card("aaa"));
        assert_eq!(
            (nodes[0].port, nodes[0].address, nodes[0].tags.len()),
            (5, None, 0)
        );
        let circle = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 12, 0, 1];
        let message = Message::parse(&circle).unwrap();
        assert_eq!(message.asks(&card("aaa")), Err(Malformed::Long));
    }

    #[test]
    fn hostile_messages_are_refused_never_fatal() {
        let (ours, theirs) = (card("aaa"), card("bbb"));
        let good = written(|out| write_answer(&theirs, Manner::Multicast, out));
        let asked = query(&[(WEIR, TYPE_PTR)], &[("weir-aaa._weir._udp.local", 1)]);
        let mut rng = Rng::new(3);
        for round in 0..40_000u64 {
            let mut bytes = if round % 2 == 0 {
                good.clone()
            } else {
                asked.clone()
            };
            for _ in 0..=rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            if let Ok(message) = Message::parse(&bytes) {
                let _ = message.asks(&ours);
                let _ = message.contests(&ours);
                let _ = message.nodes(&ours, |found| assert!(found.port != 0));
            }
        }
    }
}
