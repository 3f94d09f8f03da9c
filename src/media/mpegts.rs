//! MPEG transport streams (ISO/IEC 13818-1): packets of 188 bytes, the first programme of the table.
//!
//! A player begins where the video has a random access point: where its packet says so, or, for encoders that never say
//! so, where a key frame is found at the start of the PES packet. Without video it begins at any PES packet of the first
//! audio stream. Most encoders send the programme tables directly before: the player then begins with those, and there
//! is no preamble. For others the packets of the tables are the preamble; that their continuity counters are old is
//! harmless, but some players (VLC) say so.

mod key_frame;
mod psi;

use key_frame::{Codec, ES_LOOK_BYTES, Picture};
use psi::Table;

use super::fields::{array, tail, u8, u16_be, u32_be};
use super::scanner::Start;
use super::step::{Findings, Step};

const PACKET_BYTES: usize = 188;
const SYNC_BYTE: u8 = 0x47;

const PID_PAT: u16 = 0;
const PID_SDT: u16 = 0x11;

/// Plain packets that go out as one segment: what one datagram would carry.
const RUN_PACKETS: usize = 7;

/// After so many packets without a PES start, a packet boundary is marked all the same.
const CUT_WITHIN_PACKETS: usize = 64;

/// Packets held back at most to see whether a PES packet begins with a key frame.
const KEY_LOOK_PACKETS: usize = 64;

/// Recovery points count only when there was no key frame for so long.
const KEY_WITHIN_US: u64 = 10_000_000;

/// Most packets of tables in a row that are looked beyond.
const MAX_TABLE_RUN: usize = 32;

/// With tables before a random access point at least this often, only such are sync points.
const LED_WITHIN_US: u64 = 2_500_000;

/// Packets without the programme tables after which the stream is given up.
const TABLES_WITHIN_PACKETS: usize = 1_400; // 256 KiB

/// One packet's header fields (13818-1, 2.4.3.2 and 2.4.3.4).
#[derive(Clone, Copy)]
struct Packet<'a> {
    bytes: &'a [u8; PACKET_BYTES],
    pid: u16,
    /// A PES packet or a table section begins here.
    starts: bool,
    random_access: bool,
    pcr_us: Option<u64>,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    fn read(window: &'a [u8]) -> Option<Self> {
        let bytes = window.first_chunk::<PACKET_BYTES>()?;
        let [SYNC_BYTE, b1, b2, b3] = array::<4>(bytes, 0)? else {
            return None;
        };
        let (has_adaptation, has_payload) = (b3 & 0x20 != 0, b3 & 0x10 != 0);
        let adaptation = if has_adaptation {
            usize::from(u8(bytes, 4)?) + 1
        } else {
            0
        };
        let flags = if adaptation > 1 { u8(bytes, 5)? } else { 0 };
        let pcr_us = (flags & 0x10 != 0 && adaptation >= 8)
            .then(|| pcr_us(bytes))
            .flatten();
        let broken = b1 & 0x80 != 0;
        Some(Self {
            bytes,
            pid: u16::from_be_bytes([b1 & 0x1f, b2]),
            starts: b1 & 0x40 != 0 && has_payload && !broken,
            random_access: flags & 0x40 != 0,
            pcr_us,
            payload: if has_payload && !broken {
                tail(bytes, 4 + adaptation)
            } else {
                &[]
            },
        })
    }
}

fn pcr_us(packet: &[u8]) -> Option<u64> {
    let base = u64::from(u32_be(packet, 6)?) << 1 | u64::from(u8(packet, 10)? >> 7);
    let extension = u64::from(u16_be(packet, 10)? & 0x1ff);
    Some((base * 300 + extension) / 27)
}

/// The first position at which three packets stand in a row.
pub(super) fn find_rhythm(bytes: &[u8]) -> Option<usize> {
    (0..PACKET_BYTES).find(|at| (0..3).all(|n| u8(bytes, at + n * PACKET_BYTES) == Some(SYNC_BYTE)))
}

/// What the players follow in the programme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lead {
    Unknown,
    Video { pid: u16, codec: Codec },
    Audio { pid: u16 },
}

/// Whether the encoder sends the tables where a player can begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tables {
    /// No such place was seen yet.
    Unknown,
    /// It does; last at this time, and whether the packet in front is where they lead.
    Lead { at_us: Option<u64>, here: bool },
    /// It does not: they are the preamble.
    Apart,
}

/// Packets of tables in a row, in front of the window.
#[derive(Clone, Copy, Default)]
struct Run {
    packets: usize,
    has_pat: bool,
    has_pmt: bool,
}

/// Follows transport stream packets.
pub(super) struct MpegTs {
    pat: Table,
    pmt: Table,
    sdt: Table,
    tables: Tables,
    run: Run,
    pmt_pid: Option<u16>,
    pcr_pid: u16,
    lead: Lead,
    /// The encoder marks random access points.
    marks: bool,
    clock_us: Option<u64>,
    /// When the last key frame was.
    key_us: Option<u64>,
    since_cut: usize,
    without_tables: usize,
}

impl MpegTs {
    pub(super) const fn new() -> Self {
        Self {
            pat: Table::new(0x00),
            pmt: Table::new(0x02),
            sdt: Table::new(0x42),
            tables: Tables::Unknown,
            run: Run {
                packets: 0,
                has_pat: false,
                has_pmt: false,
            },
            pmt_pid: None,
            pcr_pid: 0x1fff,
            lead: Lead::Unknown,
            marks: false,
            clock_us: None,
            key_us: None,
            since_cut: 0,
            without_tables: 0,
        }
    }

    pub(super) fn step(&mut self, window: &[u8], ended: bool, found: &mut Findings) -> Step {
        found.content_type = "video/mp2t";
        if u8(window, 0) != Some(SYNC_BYTE)
            || u8(window, PACKET_BYTES).is_some_and(|b| b != SYNC_BYTE)
        {
            self.run = Run::default();
            return resynchronise(window);
        }
        let Some(packet) = Packet::read(window) else {
            return Step::Need;
        };
        if self.is_table(packet.pid) {
            return self.table_run(packet.starts, window, ended, found);
        }
        let Some(start) = self.start(packet, window, ended, found) else {
            return Step::Need;
        };
        self.note(packet, found);
        if self.lead == Lead::Unknown {
            self.without_tables += 1;
            if self.without_tables > TABLES_WITHIN_PACKETS {
                return Step::Hopeless("no programme tables in the transport stream");
            }
        }
        let packets = 1 + if self.is_plain(packet) {
            self.plain_run(window)
        } else {
            0
        };
        self.unit(start, packets, self.clock_us)
    }

    fn unit(&mut self, start: Start, packets: usize, time_us: Option<u64>) -> Step {
        self.since_cut = match start {
            Start::Continue => self.since_cut + packets,
            Start::Cut | Start::Sync => packets,
        };
        Step::unit(start, packets * PACKET_BYTES, time_us)
    }

    /// The tables in front are one unit: a player begins with them when they lead to where it can begin.
    fn table_run(
        &mut self,
        starts: bool,
        window: &[u8],
        ended: bool,
        found: &mut Findings,
    ) -> Step {
        let next = loop {
            let rest = tail(window, self.run.packets * PACKET_BYTES);
            match Packet::read(rest) {
                None if rest.len() < PACKET_BYTES && !ended => return Step::Need,
                Some(packet) if self.is_table(packet.pid) && self.run.packets < MAX_TABLE_RUN => {
                    self.note(packet, found);
                    self.run.has_pat |= packet.pid == PID_PAT;
                    self.run.has_pmt |= Some(packet.pid) == self.pmt_pid;
                    self.run.packets += 1;
                }
                next => break next.map(|packet| (packet, rest)),
            }
        };
        let mut leads = false;
        let mut time_us = self.clock_us;
        if let Some((packet, rest)) = next
            && self.run.has_pat
            && self.run.has_pmt
            && self.tables != Tables::Apart
        {
            match self.is_random_access(packet, rest, ended) {
                None => return Step::Need,
                Some(is_here) => leads = is_here,
            }
            time_us = packet
                .pcr_us
                .filter(|_| packet.pid == self.pcr_pid)
                .or(time_us);
        }
        let packets = core::mem::take(&mut self.run).packets;
        let start = match starts || self.since_cut >= CUT_WITHIN_PACKETS {
            _ if leads => Start::Sync,
            true => Start::Cut,
            false => Start::Continue,
        };
        if leads {
            let (at_us, here) = (time_us, true);
            self.tables = Tables::Lead { at_us, here };
        }
        self.unit(start, packets, time_us)
    }

    /// What a player finds at this packet, `None` when more packets must be seen to tell.
    fn start(
        &mut self,
        packet: Packet<'_>,
        window: &[u8],
        ended: bool,
        found: &mut Findings,
    ) -> Option<Start> {
        let boundary = match packet.starts || self.since_cut >= CUT_WITHIN_PACKETS {
            true => Start::Cut,
            false => Start::Continue,
        };
        if !self.is_random_access(packet, window, ended)? {
            return Some(boundary);
        }
        let now_us = packet.pcr_us.or(self.clock_us);
        match &mut self.tables {
            Tables::Apart => return Some(Start::Sync),
            Tables::Lead { at_us, here } => {
                if core::mem::take(here) {
                    return Some(boundary);
                }
                let since_us = at_us
                    .zip(now_us)
                    .map(|(at_us, now_us)| now_us.abs_diff(at_us));
                if since_us.is_none_or(|us| us <= LED_WITHIN_US) {
                    return Some(boundary);
                }
            }
            Tables::Unknown => {}
        }
        self.tables = Tables::Apart;
        self.make_preamble(found);
        Some(Start::Sync)
    }

    /// Whether a player that has the tables can begin at this packet, `None` when more packets must be seen to tell.
    fn is_random_access(&mut self, packet: Packet<'_>, window: &[u8], ended: bool) -> Option<bool> {
        let pes_starts = packet.starts && packet.payload.starts_with(&[0, 0, 1]);
        match self.lead {
            Lead::Video { pid, codec } if pid == packet.pid && pes_starts => {
                self.video_start(packet, window, codec, ended)
            }
            Lead::Audio { pid } => Some(pid == packet.pid && pes_starts),
            _ => Some(false),
        }
    }

    /// Whether a player can begin at a PES packet of video, `None` when more packets must be seen to tell. The mark
    /// of the encoder counts where there are marks; whether a marked picture is a recovery point is seen in it.
    fn video_start(
        &mut self,
        packet: Packet<'_>,
        window: &[u8],
        codec: Codec,
        ended: bool,
    ) -> Option<bool> {
        let is_marked = packet.random_access;
        let picture = match codec {
            _ if self.marks && !is_marked => Picture::Other,
            Codec::H264 => first_picture(window, packet.pid, codec, ended)?,
            _ if is_marked => Picture::Key,
            _ => first_picture(window, packet.pid, codec, ended)?,
        };
        self.marks |= is_marked;
        let now_us = packet.pcr_us.or(self.clock_us);
        if picture == Picture::Key {
            self.key_us = now_us;
        }
        let waited_us = self
            .key_us
            .zip(now_us)
            .map(|(key_us, now_us)| now_us.abs_diff(key_us));
        Some(match picture {
            Picture::Key => true,
            Picture::Recovery => waited_us.is_none_or(|us| us > KEY_WITHIN_US),
            Picture::Other => false,
        })
    }

    /// Takes what the packet tells: tables and time.
    fn note(&mut self, packet: Packet<'_>, found: &mut Findings) {
        if let Some(pcr_us) = packet.pcr_us.filter(|_| packet.pid == self.pcr_pid) {
            self.clock_us = Some(pcr_us);
        }
        let changed = match packet.pid {
            PID_PAT => {
                self.pat.take(packet.bytes, packet.payload, packet.starts) && self.read_pat()
            }
            PID_SDT => self.sdt.take(packet.bytes, packet.payload, packet.starts),
            pid if Some(pid) == self.pmt_pid => {
                self.pmt.take(packet.bytes, packet.payload, packet.starts) && self.read_pmt()
            }
            _ => false,
        };
        if changed && self.lead != Lead::Unknown && self.tables == Tables::Apart {
            self.make_preamble(found);
        }
    }

    fn make_preamble(&self, found: &mut Findings) {
        found.preamble.clear();
        for table in [&self.sdt, &self.pat, &self.pmt] {
            // Three tables are at most 24 packets, so they fit.
            let _ = found.preamble.append(table.packets());
        }
        found.preamble.commit();
    }

    fn is_table(&self, pid: u16) -> bool {
        pid == PID_PAT || pid == PID_SDT || Some(pid) == self.pmt_pid
    }

    /// The first programme's table is the one to follow (13818-1, 2.4.4.3). Always reports a change.
    fn read_pat(&mut self) -> bool {
        let programs = tail(self.pat.body(), 8).as_chunks::<4>().0;
        let pid = programs
            .iter()
            .find(|p| p[0] != 0 || p[1] != 0)
            .map(|p| u16::from_be_bytes([p[2] & 0x1f, p[3]]));
        if pid != self.pmt_pid {
            self.pmt_pid = pid;
            self.pmt = Table::new(0x02);
            self.lead = Lead::Unknown;
        }
        true
    }

    /// Finds the clock and the stream that leads (13818-1, 2.4.4.8). Always reports a change.
    fn read_pmt(&mut self) -> bool {
        let table = self.pmt.body();
        let Some(info) = u16_be(table, 10) else {
            return true;
        };
        self.pcr_pid = u16_be(table, 8).unwrap_or(0x1fff) & 0x1fff;
        let mut at = 12 + usize::from(info & 0xfff);
        let mut lead = Lead::Unknown;
        while let (Some(kind), Some(pid), Some(info)) =
            (u8(table, at), u16_be(table, at + 1), u16_be(table, at + 3))
        {
            let (pid, len) = (pid & 0x1fff, usize::from(info & 0xfff));
            let descriptors = table.get(at + 5..at + 5 + len).unwrap_or_default();
            match (lead, psi::video_codec(kind, descriptors)) {
                (Lead::Video { .. }, _) => {}
                (_, Some(codec)) => lead = Lead::Video { pid, codec },
                (Lead::Unknown, None) if psi::is_audio(kind, descriptors) => {
                    lead = Lead::Audio { pid }
                }
                _ => {}
            }
            at += 5 + len;
        }
        if lead != self.lead {
            self.lead = lead;
            self.marks = false;
        }
        true
    }

    /// Whether the packet marks nothing and tells nothing.
    fn is_plain(&self, packet: Packet<'_>) -> bool {
        !self.is_table(packet.pid) && packet.pcr_us.is_none() && !packet.starts
    }

    /// Plain packets after the first one that can go with it.
    fn plain_run(&self, window: &[u8]) -> usize {
        let (packets, rest) = window.as_chunks::<PACKET_BYTES>();
        let goes_on = |n: usize| {
            let next = packets
                .get(n + 1)
                .map(|next| next[0])
                .or(rest.first().copied());
            next.is_none_or(|b| b == SYNC_BYTE)
        };
        (1..RUN_PACKETS)
            .take_while(|&n| {
                let packet = packets.get(n).and_then(|bytes| Packet::read(bytes));
                packet.is_some_and(|packet| self.is_plain(packet) && goes_on(n))
            })
            .count()
    }
}

/// Looks into the elementary stream at the PES packet in front; `None` when more packets are needed.
fn first_picture(window: &[u8], pid: u16, codec: Codec, ended: bool) -> Option<Picture> {
    let mut look = [0; ES_LOOK_BYTES];
    let mut len = 0;
    let (packets, _) = window.as_chunks::<PACKET_BYTES>();
    let mut whole = ended || packets.len() >= KEY_LOOK_PACKETS;
    for (n, packet) in packets
        .iter()
        .filter_map(|bytes| Packet::read(bytes))
        .filter(|p| p.pid == pid)
        .enumerate()
    {
        if n > 0 && packet.starts {
            whole = true;
            break;
        }
        // 13818-1, 2.4.3.6: nine bytes, the last of which is the length of the rest of the header.
        let header = if n == 0 {
            9 + usize::from(u8(packet.payload, 8).unwrap_or(0))
        } else {
            0
        };
        let payload = tail(packet.payload, header);
        look.iter_mut()
            .skip(len)
            .zip(payload)
            .for_each(|(to, &from)| *to = from);
        len = (len + payload.len()).min(look.len());
    }
    let picture = key_frame::first_picture(codec, look.get(..len).unwrap_or(&look));
    picture.or((whole || len == look.len()).then_some(Picture::Other))
}

fn resynchronise(window: &[u8]) -> Step {
    let fits = |at: &usize| {
        (0..3).all(|n| u8(window, at + n * PACKET_BYTES).is_none_or(|b| b == SYNC_BYTE))
    };
    Step::Junk((1..window.len()).find(fits).unwrap_or(window.len()))
}
