//! What is sampled once a second and shown later: how the line ran, what the processor did, who came from outside, and
//! what went wrong lately.

use super::months;
use super::web::is_near;
use crate::http::history::{Counters, History};
use crate::http::status::Reach;
use crate::proto::config::MAX_STREAMS;
use crate::proto::node::Node;
use core::net::SocketAddr;
use std::fs::File;
use std::io::Read;

/// "Lately" is between one and two of these.
const LATELY_S: u64 = 300;

/// A node that others know of and nobody has called for so long is not reachable, most likely.
const REACH_PATIENCE_S: u64 = 900;

/// Somebody who came from outside proves something for so long.
const REACH_LASTS_S: u64 = 24 * 3_600;

/// The processor and the temperature are looked at this often.
const MACHINE_S: u64 = 10;

/// How often something happened, by counters that only grow: the difference to what they were lately.
#[derive(Clone, Copy, Default, Debug)]
struct Lately {
    now: u64,
    /// Where the counter stood at the beginning of this stretch and of the one before.
    marks: [u64; 2],
}

impl Lately {
    fn note(&mut self, total: u64, is_new_stretch: bool) {
        if is_new_stretch {
            self.marks = [self.now, self.marks[0]];
        }
        self.now = total;
    }

    fn count(&self) -> u64 {
        self.now.saturating_sub(self.marks[1])
    }
}

/// The samples.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// How the line ran.
    pub history: History,
    /// Thousandths of one processor used lately.
    pub cpu_permille: Option<u32>,
    /// Thousandths of a degree.
    pub temperature_mc: Option<i32>,
    uptime_s: u64,
    /// Ticks of processor time at the last look, and when that was.
    cpu: Option<(u64, u64)>,
    reached_at_s: Option<u64>,
    /// Since when there have been neighbours outside, who could have told others of this node.
    known_since_s: Option<u64>,
    drops: Lately,
    gaps: [Lately; MAX_STREAMS],
}

impl Vitals {
    /// Takes a sample. To be called about once a second.
    pub fn note(&mut self, uptime_s: u64, node: &Node<'_>, kernel_drops_total: u64) {
        let stats = node.stats();
        self.history.note(
            uptime_s,
            Counters {
                tx_bytes: stats.tx_bytes,
                rx_bytes: stats.rx_bytes,
            },
        );
        let is_new_stretch = uptime_s / LATELY_S != self.uptime_s / LATELY_S;
        self.drops.note(kernel_drops_total, is_new_stretch);
        for (gaps, stream) in self.gaps.iter_mut().zip(node.streams()) {
            gaps.note(stream.stats.gaps, is_new_stretch);
        }
        self.note_reach(uptime_s, node);
        if uptime_s / MACHINE_S != self.uptime_s / MACHINE_S {
            self.note_machine(uptime_s);
        }
        self.uptime_s = uptime_s;
    }

    fn note_reach(&mut self, uptime_s: u64, node: &Node<'_>) {
        let outside = |addr: SocketAddr| !is_near(addr.ip());
        let strangers = || {
            let all = node.peers().iter().map(|(_, peer)| peer);
            all.filter(|peer| peer.addr.socket().is_some_and(outside))
        };
        if strangers().any(|peer| !peer.outgoing) {
            self.reached_at_s = Some(uptime_s);
        }
        self.known_since_s = match strangers().next() {
            Some(_) => self.known_since_s.or(Some(uptime_s)),
            None => None,
        };
    }

    fn note_machine(&mut self, uptime_s: u64) {
        self.temperature_mc = number_in("/sys/class/thermal/thermal_zone0/temp");
        let Some(ticks) = processor_ticks() else {
            return;
        };
        if let Some((before, at_s)) = self.cpu {
            let hertz = rustix::param::clock_ticks_per_second();
            let possible = uptime_s.saturating_sub(at_s).max(1) * hertz.max(1);
            let permille = ticks.saturating_sub(before) * 1_000 / possible;
            self.cpu_permille = u32::try_from(permille).ok();
        }
        self.cpu = Some((ticks, uptime_s));
    }

    /// Whether others can reach this node, as far as can be told from who came.
    pub fn reach(&self) -> Reach {
        let since = |at: u64| self.uptime_s.saturating_sub(at);
        match (self.reached_at_s, self.known_since_s) {
            (Some(at), _) if since(at) < REACH_LASTS_S => Reach::Reached,
            (_, Some(at)) if since(at) >= REACH_PATIENCE_S => Reach::NotReached,
            _ => Reach::Unknown,
        }
    }

    /// Datagrams that the kernel dropped lately.
    pub fn recent_kernel_drops(&self) -> u64 {
        self.drops.count()
    }

    /// Gaps of a stream lately.
    pub fn recent_gaps(&self, stream: usize) -> u64 {
        self.gaps.get(stream).map_or(0, Lately::count)
    }
}

/// Whether the system's clock says a time that can be true.
pub fn clock_is_set() -> bool {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.is_ok_and(|since| since.as_secs() >= months::BUILT)
}

/// Processor time of this process in clock ticks, user and system (proc(5), `stat`, fields 14 and 15).
fn processor_ticks() -> Option<u64> {
    let mut buf = [0; 512];
    let text = read("/proc/self/stat", &mut buf)?;
    // The name of the program stands in parentheses and may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn number_in(path: &str) -> Option<i32> {
    read(path, &mut [0; 32])?.trim().parse().ok()
}

fn read<'b>(path: &str, buf: &'b mut [u8]) -> Option<&'b str> {
    let len = File::open(path).ok()?.read(buf).ok()?;
    core::str::from_utf8(buf.get(..len)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lately_forgets() {
        let mut lately = Lately::default();
        lately.note(5, false);
        assert_eq!(lately.count(), 5);
        lately.note(7, true);
        assert_eq!(lately.count(), 7);
        lately.note(7, true);
        assert_eq!(lately.count(), 2);
        lately.note(7, true);
        assert_eq!(lately.count(), 0);
    }

    #[test]
    fn this_process_uses_its_processor() {
        let begin = std::time::Instant::now();
        let before = processor_ticks().unwrap();
        let mut x = 1u64;
        while processor_ticks().unwrap() == before {
            x = x.wrapping_mul(3);
            assert!(begin.elapsed().as_secs() < 60, "{x}");
        }
    }
}
