//! What is wrong here, and exactly what its owner can do about it.

use crate::http::out::cut;
use crate::http::serial::lines;
use crate::http::status::{LineStatus, MemoryStatus, Reach, StatusSource, StreamState};
use crate::http::units::{Data, Memory, Rate};
use core::fmt::{self, Write};
use heapless::Vec;

/// Most troubles shown at once.
pub const MAX_TROUBLES: usize = 8;

/// Longest part of a title that a sentence holds.
pub(crate) const MAX_TITLE_BYTES: usize = 80;

/// A fresh node is given this long before it is said that nobody answers.
pub(crate) const PATIENCE_S: u64 = 20;

/// One thing that is wrong. Numbers of streams are places in their table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// No neighbour answers for a stream.
    NobodyAnswers(usize),
    /// There are neighbours, and nothing comes from them yet.
    NothingComes(usize),
    /// Data flowed and stopped.
    Stalled(usize),
    /// Its nodes have too little upload for all, and this one takes turns.
    Short(usize),
    /// What is sent into the stream could not be recognised.
    Raw(usize),
    /// Something was skipped lately.
    Gaps(usize),
    /// The month's quota is used up, but for what is kept for players here.
    Quota,
    /// It is nearly used up.
    QuotaLow,
    /// What was used of it cannot be kept on disk, or could not be read.
    QuotaCount,
    /// The upload limit does not carry one stripe; this many bits a second would.
    LimitTooSmall(usize, u64),
    /// Nobody from outside has come.
    NotReached,
    /// The system's clock was never set.
    ClockNotSet,
    /// The kernel dropped datagrams lately.
    KernelDrops,
    /// More memory is resident than the owner allows.
    Memory,
    /// A serial line is of no use; a place in their table.
    Serial(usize),
}

/// Every kind, for lists that have to be complete.
pub const KINDS: [&str; 15] = [
    "nobody_answers",
    "nothing_comes",
    "stalled",
    "raw_input",
    "gaps",
    "quota",
    "limit_too_small",
    "not_reached",
    "clock_not_set",
    "kernel_drops",
    "memory",
    "quota_low",
    "quota_count",
    "serial",
    "short",
];

/// All that is wrong, the worst first; what does not fit is left out.
pub fn troubles(source: &dyn StatusSource) -> Vec<Trouble, MAX_TROUBLES> {
    let mut found = Vec::new();
    // A full list holds the worst already.
    let mut add = |trouble| {
        let _ = found.push(trouble);
    };
    let (node, machine, upload) = (source.node(), source.machine(), source.upload());
    let streams = || (0..source.stream_slots()).filter_map(|i| Some((i, source.stream(i)?)));
    let settled = node.uptime_s >= PATIENCE_S;
    for (i, stream) in streams() {
        match stream.state {
            _ if stream.is_short => add(Trouble::Short(i)),
            StreamState::Stalled => add(Trouble::Stalled(i)),
            _ if stream.state == StreamState::Stopped || node.role == "source" || !settled => {}
            _ if stream.peers == 0 => add(Trouble::NobodyAnswers(i)),
            StreamState::Joining => add(Trouble::NothingComes(i)),
            _ => {}
        }
    }
    let uplink = source.uplink();
    match upload.quota_bytes.filter(|most| *most > 0) {
        Some(most) if uplink.sharing == "ended" || upload.quota_used_bytes >= most => {
            add(Trouble::Quota);
        }
        Some(_) if uplink.sharing == "full" => add(Trouble::QuotaLow),
        _ => {}
    }
    if !uplink.quota_trouble.is_empty() {
        add(Trouble::QuotaCount);
    }
    for (i, stream) in streams() {
        // A sixteenth is kept for control.
        let least_bps = stream.stripe_bps.saturating_mul(16).div_ceil(15);
        let limit_bps = upload.limit_bps.filter(|limit| *limit > 0);
        if limit_bps.is_some_and(|limit| limit < least_bps) {
            add(Trouble::LimitTooSmall(i, least_bps));
        }
    }
    if machine.recent_kernel_drops > 0 {
        add(Trouble::KernelDrops);
    }
    let memory = source.memory();
    if own_bytes(&memory) > memory.budget_bytes.saturating_add(memory.budget_bytes / 4) {
        add(Trouble::Memory);
    }
    for (i, line) in lines(source).enumerate() {
        if settled && wrong_with(&line).is_some() {
            add(Trouble::Serial(i));
        }
    }
    if !machine.clock_is_set {
        add(Trouble::ClockNotSet);
    }
    if machine.reach == Reach::NotReached && upload.limit_bps != Some(0) {
        add(Trouble::NotReached);
    }
    for (i, stream) in streams() {
        if !stream.trouble.is_empty() {
            add(Trouble::Raw(i));
        }
        if stream.recent_gaps > 0 && !stream.is_short {
            add(Trouble::Gaps(i));
        }
    }
    found
}

impl Trouble {
    /// Its kind, for programs.
    pub const fn kind(self) -> &'static str {
        let at = match self {
            Self::NobodyAnswers(_) => 0,
            Self::NothingComes(_) => 1,
            Self::Stalled(_) => 2,
            Self::Raw(_) => 3,
            Self::Gaps(_) => 4,
            Self::Quota => 5,
            Self::LimitTooSmall(..) => 6,
            Self::NotReached => 7,
            Self::ClockNotSet => 8,
            Self::KernelDrops => 9,
            Self::Memory => 10,
            Self::QuotaLow => 11,
            Self::QuotaCount => 12,
            Self::Serial(_) => 13,
            Self::Short(_) => 14,
        };
        KINDS[at]
    }

    /// What is wrong, in one sentence. It may hold a title, a text from outside.
    pub fn what(self, source: &dyn StatusSource, out: &mut dyn Write) -> fmt::Result {
        let title = |i| Title(source, i);
        match self {
            Self::NobodyAnswers(i) => write!(out, "Nobody answers for {}.", title(i)),
            Self::NothingComes(i) => write!(
                out,
                "There are neighbours for {}, and nothing has come from them yet.",
                title(i)
            ),
            Self::Stalled(i) => write!(out, "{} has stopped arriving.", title(i)),
            Self::Short(i) => write!(
                out,
                "{} pauses here now and then: there is not enough upload for all; others have their turn.",
                title(i)
            ),
            Self::Raw(i) => {
                let stream = source.stream(i);
                let trouble = stream.map_or("", |stream| stream.trouble);
                write!(out, "The input of {} is sent on as plain bytes: {trouble}.", title(i))
            }
            Self::Gaps(i) => write!(
                out,
                "{} was interrupted {} in the last minutes.",
                title(i),
                Times(source.stream(i).map_or(0, |stream| stream.recent_gaps))
            ),
            Self::Quota => write!(
                out,
                "This month's {} are as good as used up, and nothing is passed on.",
                Data(source.upload().quota_bytes.unwrap_or(0))
            ),
            Self::QuotaLow => write!(
                out,
                "This month's {} are nearly used up, and nobody new is taken.",
                Data(source.upload().quota_bytes.unwrap_or(0))
            ),
            Self::QuotaCount => write!(
                out,
                "The count of this month is not safe: {}.",
                cut(source.uplink().quota_trouble, MAX_REASON_BYTES)
            ),
            Self::LimitTooSmall(i, _) => write!(
                out,
                "The upload limit of {} does not carry even one stripe of {}, so this box cannot help.",
                Rate(source.upload().limit_bps.unwrap_or(0)),
                title(i)
            ),
            Self::NotReached => {
                out.write_str("Nobody outside your network has reached this box, so it helps fewer people than it could.")
            }
            Self::ClockNotSet => out.write_str("The clock of this box is not set."),
            // How many it were stands below: a sentence that changes is read aloud again.
            Self::KernelDrops => out.write_str(
                "The system threw away packets in the last minutes, because weir could not read them in time.",
            ),
            Self::Memory => write!(
                out,
                "weir uses {} of memory, and {} are allowed.",
                Memory(own_bytes(&source.memory())),
                Memory(source.memory().budget_bytes)
            ),
            Self::Serial(i) => match source.line(i) {
                None => Ok(()),
                Some(line) => write!(
                    out,
                    "Serial line {}: {}.",
                    cut(line.path, MAX_REASON_BYTES),
                    wrong_with(&line).map_or("well again", |(what, _)| what)
                ),
            },
        }
    }

    /// What to do about it. Words of ours and numbers only.
    pub fn remedy(self, source: &dyn StatusSource, out: &mut dyn Write) -> fmt::Result {
        let udp = source.machine().udp;
        match self {
            Self::NobodyAnswers(_) => out.write_str(
                "Check the stream's address for typing errors, that this box is on the Internet, and that its firewall lets UDP out. It goes on trying.",
            ),
            Self::NothingComes(_) => out.write_str(
                "The broadcaster may not be on the air, or all places are taken. It goes on trying; nothing is to be done here.",
            ),
            Self::Stalled(_) if source.node().role == "source" => {
                out.write_str("The program that feeds this broadcast has stopped sending. Start it again.")
            }
            Self::Stalled(_) => out.write_str(
                "If other things work on this line, the broadcaster has gone off the air; it is taken up again by itself.",
            ),
            Self::Short(_) => out.write_str(
                "It takes more boxes that pass it on, or more that they may send: raise --upload-limit, here too.",
            ),
            Self::Raw(_) => out.write_str(
                "Players may begin in the middle of a picture or a sound. Send Ogg, MP3, AAC, FLAC, MPEG-TS, fragmented MP4 or WebM, and name it with --content-type.",
            ),
            Self::Gaps(_) => out.write_str(
                "If it goes on, the line of this box is overloaded or loses packets: try it by cable, or raise --window to 8s.",
            ),
            Self::Quota => write!(
                out,
                "Players here are served on from what is kept for them; others again {}. To allow more, raise --quota (in a file: quota = \"400GB\").",
                Again(source)
            ),
            Self::QuotaLow => write!(
                out,
                "Who is fed already is let go in good order when it ends; it begins anew {}. To allow more, raise --quota (in a file: quota = \"400GB\").",
                Again(source)
            ),
            Self::QuotaCount => out.write_str(
                "Look at the directory of --state: is it full, or read-only? A damaged file counts as a quota used up; remove it to begin anew.",
            ),
            Self::LimitTooSmall(_, least_bps) => {
                let kbit = least_bps.div_ceil(1_000);
                write!(
                    out,
                    "Raise it to at least {kbit} kbit/s: --upload-limit {kbit}kbit (in a file: upload-limit = \"{kbit}kbit\")."
                )
            }
            Self::NotReached => write!(
                out,
                "In your router, forward UDP port {} to this box, {}. Where the provider does not allow that, nothing is broken: it helps those it reaches itself.",
                udp.port(),
                udp.ip()
            ),
            Self::ClockNotSet => out.write_str(
                "Turn on time from the network: timedatectl set-ntp true, or on OpenWrt: System, Time Synchronization. Until then the month of the quota is a guess.",
            ),
            Self::KernelDrops => out.write_str(
                "Give it a larger buffer: sysctl -w net.core.rmem_max=4194304, then restart weir. If that does not help, the box is too slow for this: lower --upload-limit.",
            ),
            Self::Memory => out.write_str(
                "Restart weir, and report it: that should not happen. Lowering --max-players and --max-children makes it smaller.",
            ),
            Self::Serial(i) => {
                let line = source.line(i);
                let wrong = line.as_ref().and_then(wrong_with);
                out.write_str(wrong.map_or("Nothing is to be done.", |(_, remedy)| remedy))
            }
        }
    }
}

/// What a node holds for itself: its code and the C library's, which others use as well, are some MiB more.
fn own_bytes(memory: &MemoryStatus) -> u64 {
    memory.rss_bytes.saturating_sub(memory.file_bytes)
}

/// Longest part of a reason or a device's name that a sentence holds.
const MAX_REASON_BYTES: usize = 96;

/// What is wrong with a serial line, if anything, and what to do about it.
fn wrong_with(line: &LineStatus<'_>) -> Option<(&'static str, &'static str)> {
    Some(match (line.state, line.role) {
        ("missing", "link") => (
            "the device is not there, or may not be opened",
            "Plug the adapter in, and look at its name and rights: ls -l /dev/serial/by-id. It is looked for every second.",
        ),
        ("taken", _) => (
            "another program has it, so it is left alone",
            "The log says which. A login is turned off with: systemctl disable --now serial-getty@NAME; on OpenWrt in /etc/inittab.",
        ),
        ("noise", "link") => (
            "what comes is noise",
            "Set both ends to the same rate, and look for a weir with the word link at the other.",
        ),
        ("blocked", "link") => (
            "it takes nothing",
            "Look at the cable, and whether the far end is on.",
        ),
        // A console need not be plugged in, or have anybody at it.
        _ => return None,
    })
}

/// How often: `once`, `3 times`.
struct Times(u64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("once"),
            n => write!(f, "{n} times"),
        }
    }
}

/// When the quota begins anew: `on 2026-12-01`.
struct Again<'a>(&'a dyn StatusSource);

impl fmt::Display for Again<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.uplink().quota_resets_on {
            Some(date) => write!(f, "on {date}"),
            None => f.write_str("when the month is over"),
        }
    }
}

/// A stream's title, short enough for a sentence, or words in its place.
pub(crate) struct Title<'a>(pub &'a dyn StatusSource, pub usize);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.stream(self.1).map_or("", |stream| stream.title) {
            "" => f.write_str("the stream"),
            title if title.len() <= MAX_TITLE_BYTES => f.write_str(title),
            title => write!(f, "{}\u{2026}", cut(title, MAX_TITLE_BYTES)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fake::Fake;
    use std::string::String;

    fn said(trouble: Trouble, fake: &Fake) -> (String, String) {
        let (mut what, mut remedy) = (String::new(), String::new());
        trouble.what(fake, &mut what).unwrap();
        trouble.remedy(fake, &mut remedy).unwrap();
        (what, remedy)
    }

    /// The only trouble of a node that is well but for what `change` does to it.
    fn only(change: impl FnOnce(&mut Fake)) -> (Trouble, String, String) {
        let mut fake = Fake::with_states(&[StreamState::Live]);
        assert_eq!(troubles(&fake), [], "a well node has none");
        change(&mut fake);
        let found = troubles(&fake);
        assert_eq!(found.len(), 1, "{found:?}");
        let (what, remedy) = said(found[0], &fake);
        (found[0], what, remedy)
    }

    #[test]
    fn each_has_an_exact_remedy() {
        let (trouble, _, remedy) = only(|fake| fake.machine.reach = Reach::NotReached);
        assert_eq!(trouble, Trouble::NotReached);
        assert!(
            remedy.contains("UDP port 8479") && remedy.contains("192.168.1.7"),
            "{remedy}"
        );

        let (trouble, what, remedy) = only(|fake| fake.limit = Some(30_000));
        assert!(
            matches!(trouble, Trouble::LimitTooSmall(0, 85_334)),
            "{trouble:?}"
        );
        assert!(what.contains("30.0 kbit/s") && remedy.contains("--upload-limit 86kbit"));

        let (trouble, what, _) = only(|fake| (fake.quota, fake.quota_used) = (Some(200), 200));
        assert_eq!(
            (trouble, what.as_str()),
            (
                Trouble::Quota,
                "This month's 200 B are as good as used up, and nothing is passed on."
            )
        );
        // A tenth is kept for players here: others get nothing long before the last byte.
        let (trouble, _, remedy) = only(|fake| {
            (fake.quota, fake.quota_used, fake.sharing) = (Some(200), 180, "ended");
        });
        assert_eq!(trouble, Trouble::Quota);
        assert!(remedy.contains("again on 2026-12-01"), "{remedy}");
        let (trouble, what, _) = only(|fake| (fake.quota, fake.sharing) = (Some(200), "full"));
        assert_eq!(trouble, Trouble::QuotaLow);
        assert!(what.contains("nobody new"), "{what}");
        let (trouble, what, _) = only(|fake| fake.quota_trouble = "no space left".into());
        assert_eq!(trouble, Trouble::QuotaCount);
        assert!(what.contains("no space left"), "{what}");

        let (trouble, _, remedy) = only(|fake| fake.machine.clock_is_set = false);
        assert_eq!(trouble, Trouble::ClockNotSet);
        assert!(remedy.contains("timedatectl"));

        let (trouble, what, remedy) = only(|fake| fake.machine.recent_kernel_drops = 12);
        assert_eq!(trouble, Trouble::KernelDrops);
        assert!(what.contains("packets") && remedy.contains("rmem_max"));

        let (trouble, what, _) = only(|fake| fake.stream_peers = 0);
        assert_eq!(trouble, Trouble::NobodyAnswers(0));
        assert!(what.contains("Radio"), "{what}");

        let (trouble, what, _) = only(|fake| fake.rss = 12 << 20);
        assert_eq!(trouble, Trouble::Memory);
        assert!(
            what.contains("11.0 MiB") && what.contains("8.0 MiB"),
            "{what}"
        );

        // Of which a MiB is code: that is no trouble.
        let mut fake = Fake::with_states(&[StreamState::Live]);
        fake.rss = 11 << 20;
        assert_eq!(troubles(&fake), []);

        let (trouble, ..) = only(|fake| fake.states = [Some(StreamState::Stalled)].into());
        assert_eq!(trouble, Trouble::Stalled(0));
        // Nothing is wrong with this box, however often it pauses.
        let (trouble, what, remedy) = only(|fake| {
            (fake.recent_gaps, fake.is_short) = (9, true);
            fake.states = [Some(StreamState::Stalled)].into();
        });
        assert_eq!(trouble, Trouble::Short(0));
        assert!(what.contains("turn") && remedy.contains("--upload-limit"));
        let (trouble, what, _) = only(|fake| fake.recent_gaps = 1);
        assert_eq!(trouble, Trouble::Gaps(0));
        assert!(what.contains("interrupted once"), "{what}");
    }

    #[test]
    fn a_serial_line_of_no_use_is_told_and_an_idle_console_is_not() {
        for state in ["taken", "noise", "blocked", "missing"] {
            let (trouble, what, remedy) = only(|fake| fake.lines = [("link", state)].into());
            assert_eq!(trouble, Trouble::Serial(0), "{state}");
            assert!(what.contains("/dev/serial") && !remedy.is_empty(), "{what}");
        }
        let (_, _, remedy) = only(|fake| fake.lines = [("console", "taken")].into());
        assert!(remedy.contains("getty"), "{remedy}");
        let mut fake = Fake::with_states(&[StreamState::Live]);
        fake.lines = ["up", "quiet", "noise", "blocked", "missing"]
            .map(|s| ("console", s))
            .into();
        assert_eq!(troubles(&fake), []);
    }

    #[test]
    fn however_much_is_wrong_the_list_is_short_and_every_kind_has_a_name() {
        let mut fake = Fake::extreme();
        fake.states = [Some(StreamState::Stalled); 20].into();
        assert_eq!(troubles(&fake).len(), MAX_TROUBLES);
        for (at, kind) in KINDS.iter().enumerate() {
            assert!(!KINDS[..at].contains(kind));
        }
    }
}
