//! The monthly quota: hard, over restarts and power cuts. `months` says which month it is, `lease` what is on disk, and this what the node
//! may still send.
//!
//! Without a state directory the count begins with the process. With one that cannot be written, nothing is passed on beyond what was
//! leased; this node's own players are served from an even share, what is left over 31 days, which cannot add up to more than
//! the quota however often the process starts.

use super::aside::{self, Aside};
use super::config::Config;
use super::lease::{self, TOO_SOON};
use super::months::{self, Months, Steadiness};
use super::reactor::Timer;
use super::units::Size;
use super::view::Running;
use crate::proto::node::Node;
use crate::proto::uplink::Sharing;
use crate::time::Instant;
use core::time::Duration;
use std::path::PathBuf;
use std::string::String;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{format, io};

/// The clock and the counters are looked at this often.
const TICK: Duration = Duration::from_secs(1);

/// A disk that could not be written is tried again after this; and so long a lease may lag behind what has to be remembered.
const AGAIN: Duration = Duration::from_secs(600);
const REMEMBER: Duration = Duration::from_secs(3_600);

/// A new lease is written when the last one would be used up within this, at the present rate.
const WRITE_S: u64 = 10;

/// No lease is smaller while so much is left.
const LEAST_LEASE: u64 = 250_000;

/// An even share is that of a month of 31 days.
const MONTH_S: u64 = 31 * 86_400;

/// What fetching costs, in bytes a second: kept for this node's own players, up to a tenth of the quota.
const FETCHING: u64 = 1_000;

/// With so many seconds left, at the present rate, nobody is given more; with so many, the children are let go.
const FULL_S: u64 = 120;
const ENDED_S: u64 = 40;

/// Where the count is kept.
#[derive(Debug)]
enum Store {
    /// Nowhere: it begins with the process.
    Nowhere,
    /// In this file.
    File {
        file: PathBuf,
        /// What it says, as far as is known.
        text: String,
        /// Bytes that may be used with that.
        leased: u64,
        /// It says that another month may have begun.
        tells_next: bool,
        /// Why it could not be written last.
        failed: Option<String>,
    },
}

/// The quota and what was used of it.
#[derive(Debug)]
pub struct Quota {
    quota_bytes: u64,
    first_day: u32,
    months: Months,
    steadiness: Steadiness,
    store: Store,
    /// What may be used without having been leased.
    even_share: u64,
    lease: u64,
    most_lease: u64,
    since_write: Duration,
    /// Bytes that the node had sent at the last look.
    counted: u64,
    sharing: Sharing,
    unix_s: u64,
    /// Why the file could not be believed.
    damaged: String,
    /// Bytes a second of late.
    rate: u64,
}

/// What the status shows of it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Bytes used this month.
    pub used_bytes: u64,
    /// When it begins anew, in seconds since 1970, if that is known.
    pub resets_unix_s: Option<u64>,
    /// Why the count cannot be kept; empty when all is well.
    pub trouble: &'a str,
}

/// A write that has to be done, apart from the node since it may take long.
pub struct Write {
    file: PathBuf,
    /// What the file is known to say.
    known: String,
    months: Months,
    lease: u64,
}

/// What a file said that was not known, as when its disk has only now been mounted, and what it says now.
type Wrote = (Option<Months>, String);

impl Write {
    fn run(&self) -> io::Result<Wrote> {
        let mut months = self.months;
        let (found, _) = lease::read(&self.file, &self.known)?;
        if let Some(found) = found {
            months.take_along(found);
        }
        Ok((found, lease::write(&self.file, &months, self.lease)?))
    }
}

impl Quota {
    /// The quota of a configuration, with what was used of it before; nothing if there is none.
    pub fn open(config: &Config) -> Option<Self> {
        Self::open_at(config, unix_s())
    }

    fn open_at(config: &Config, unix_s: u64) -> Option<Self> {
        let quota_bytes = config.quota_bytes?;
        let (lease, most_lease) = lease::sizes(quota_bytes, config.upload_limit_bps);
        let mut quota = Self {
            quota_bytes,
            first_day: u32::from(config.quota_day),
            months: Months::default(),
            steadiness: Steadiness::default(),
            store: Store::Nowhere,
            even_share: 0,
            lease,
            most_lease,
            since_write: Duration::ZERO,
            counted: 0,
            sharing: Sharing::Open,
            unix_s,
            damaged: String::new(),
            rate: 0,
        };
        if let Some(state) = config.state.as_deref().filter(|_| quota_bytes > 0) {
            quota.restore(lease::file_in(state), unix_s);
        }
        Some(quota)
    }

    fn restore(&mut self, file: PathBuf, unix_s: u64) {
        let (found, text) = lease::read(&file, "").unwrap_or_else(|error| {
            log::warn!(
                "--quota: {}: {error}; this month's quota counts as used up (remove it to begin anew)",
                file.display()
            );
            self.damaged = format!("the quota's file: {error}");
            let used = self.quota_bytes;
            let months = Months { used, ..self.months };
            (Some(months), lease::text_of(&file).unwrap_or_default())
        });
        self.months = found.unwrap_or_default();
        self.store = Store::File {
            file,
            text,
            leased: self.months.used,
            tells_next: self.months.next.is_some(),
            failed: None,
        };
        // Which month it is has to be known before the first lease is written.
        self.look(unix_s, Duration::ZERO);
        if let Some(write) = self.wanted_write() {
            let result = write.run();
            self.written(&write, result);
        }
    }

    /// Looks at the clock.
    fn look(&mut self, unix_s: u64, passed: Duration) {
        self.unix_s = unix_s;
        let used_before = self.months.used;
        let begun = self
            .months
            .look(&mut self.steadiness, self.unix_s, passed, self.first_day);
        if begun {
            log::info!(
                "--quota: a new month has begun; {} were used before",
                Size(used_before)
            );
            self.sharing = Sharing::Open;
            self.even_share = 0;
            self.damaged.clear();
            if let Store::File { leased, .. } = &mut self.store {
                // What is on disk is the old month's.
                *leased = self.months.used;
            }
        }
    }

    /// Takes in what was sent since the last time, and says what has to be written now.
    fn tick(&mut self, sent_in_all: u64, unix_s: u64, passed: Duration) -> Option<Write> {
        self.look(unix_s, passed);
        let sent = sent_in_all.saturating_sub(self.counted);
        self.months.add(sent);
        let ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        if let Some(rate) = sent.saturating_mul(1_000).checked_div(ms) {
            self.rate = rate.max(self.rate / 2);
        }
        self.counted = sent_in_all.max(self.counted);
        self.since_write += passed;
        let left = self.quota_bytes.saturating_sub(self.months.used);
        if self.is_failing() {
            let ms = u64::try_from(passed.as_millis()).unwrap_or(0);
            const MONTH_MS: u64 = MONTH_S * 1_000;
            let (each_ms, rest) = (left / MONTH_MS, left % MONTH_MS);
            let more = each_ms.saturating_mul(ms) + rest.saturating_mul(ms) / MONTH_MS;
            self.even_share = self.even_share.saturating_add(more);
        }
        self.wanted_write()
    }

    /// A new lease when a quarter of the last one is left, or when there is something to remember.
    fn wanted_write(&mut self) -> Option<Write> {
        let lease = self.next_lease();
        let soon = self.rate.saturating_mul(WRITE_S);
        let Store::File {
            leased,
            tells_next,
            failed,
            ..
        } = &self.store
        else {
            return None;
        };
        let ahead = leased.saturating_sub(self.months.used);
        let low = ahead < (lease / 4).max(soon.min(lease / 2)) && ahead < lease;
        let is_told = self.months.next.is_some();
        let aged = is_told && (!tells_next || self.since_write >= REMEMBER);
        let due = failed.is_none() || self.since_write >= AGAIN;
        if !due || !(low || aged || failed.is_some()) {
            return None;
        }
        if low && self.since_write < TOO_SOON && *leased > 0 && failed.is_none() {
            let enough = soon.saturating_mul(4);
            self.lease = (self.lease * 2).max(enough).min(self.most_lease);
        }
        self.write(self.next_lease())
    }

    /// Of what is kept for this node's own players little is leased at once: a crash must not cost it.
    fn next_lease(&self) -> u64 {
        let left = self.quota_bytes.saturating_sub(self.months.used);
        let shared = left.saturating_sub(self.reserve());
        self.lease
            .min(shared.max(left / 16).max(LEAST_LEASE).min(left))
    }

    fn write(&self, lease: u64) -> Option<Write> {
        let Store::File { file, text, .. } = &self.store else {
            return None;
        };
        Some(Write {
            file: file.clone(),
            known: text.clone(),
            months: self.months,
            lease,
        })
    }

    /// Takes in what became of a write.
    fn written(&mut self, write: &Write, result: io::Result<Wrote>) {
        self.since_write = Duration::ZERO;
        let Store::File {
            file,
            text,
            leased,
            tells_next,
            failed,
        } = &mut self.store
        else {
            return;
        };
        match result {
            Ok((found, says)) => {
                *text = says;
                *tells_next = write.months.next.is_some();
                self.even_share = 0;
                let covered = write.months.used.saturating_add(write.lease);
                if let Some(found) = found {
                    *leased = covered.saturating_add(found.used);
                    self.months.take_along(found);
                } else if write.months.month == self.months.month {
                    // A month that began while it was being written has a count of its own.
                    *leased = covered;
                }
                if failed.take().is_some() {
                    log::info!("--quota: {} can be written again", file.display());
                }
            }
            Err(error) => {
                if failed.is_none() {
                    log::warn!(
                        "--quota: {} cannot be written: {error}; what was sent cannot be remembered, so no more is passed on than {}",
                        file.display(),
                        Size(*leased)
                    );
                }
                *failed = Some(format!("the quota cannot be kept on disk: {error}"));
            }
        }
    }

    /// Bytes that may be used up by what is on disk.
    fn leased(&self) -> u64 {
        match &self.store {
            Store::Nowhere => self.quota_bytes,
            Store::File { leased, .. } => (*leased).min(self.quota_bytes),
        }
    }

    /// What is kept for this node's own players.
    fn reserve(&self) -> u64 {
        let fetching = FETCHING.saturating_mul(self.months.left_s(self.unix_s, self.first_day));
        fetching.min(self.quota_bytes / 10)
    }

    /// Bytes that may be used up now: what is on disk, and where that cannot be written, the even share.
    fn covered(&self) -> u64 {
        let covered = self.leased().saturating_add(self.even_share);
        covered.min(self.quota_bytes)
    }

    /// Tells the node what it may send, when it sends so many bytes a second.
    fn tell(&mut self, node: &mut Node<'_>, now: Instant, rate: u64) {
        let (may, kept, sharing) = self.terms(rate);
        node.set_allowance(now, Some(may), kept, sharing);
    }

    /// Bytes that may be sent, how many of these are for control alone, and how much is shared.
    fn terms(&mut self, rate: u64) -> (u64, u64, Sharing) {
        let left = self.quota_bytes.saturating_sub(self.months.used);
        let reserve = self.reserve();
        let sharing = match self.months.ended == self.quota_bytes {
            true => Sharing::Ended,
            false => self.sharing_with(left.saturating_sub(reserve), rate),
        };
        if sharing != self.sharing {
            self.sharing = sharing;
            self.say(sharing);
        }
        if sharing == Sharing::Ended {
            self.months.ended = self.quota_bytes;
        }
        let may = self.covered().saturating_sub(self.months.used);
        if self.is_failing() && self.leased().saturating_sub(self.months.used) < self.lease / 4 {
            // Nobody would remember it: the even share is for fetching alone.
            return (may, may, Sharing::Ended);
        }
        // What is not on disk yet is a part of the reserve.
        let kept = reserve.saturating_sub(left - may.min(left));
        (may, kept, sharing)
    }

    fn is_failing(&self) -> bool {
        let Store::File { failed, .. } = &self.store else {
            return false;
        };
        failed.is_some()
    }

    /// How much is shared with so many bytes left. It goes one way only until the next month.
    fn sharing_with(&self, left: u64, rate: u64) -> Sharing {
        // Of a quota that is small for the line, no more than half is kept for a good end.
        let full = rate.saturating_mul(FULL_S).min(self.quota_bytes / 2);
        let ended = rate.saturating_mul(ENDED_S).min(self.quota_bytes / 4);
        match self.sharing {
            Sharing::Ended => Sharing::Ended,
            _ if left <= ended => Sharing::Ended,
            Sharing::Full => Sharing::Full,
            Sharing::Open if left <= full => Sharing::Full,
            Sharing::Open => Sharing::Open,
        }
    }

    fn say(&self, sharing: Sharing) {
        let until = match self.months.resets_at(self.unix_s, self.first_day) {
            Some(end) => months::date(end),
            None => String::from("the next month"),
        };
        let quota = Size(self.quota_bytes);
        match sharing {
            Sharing::Open => {}
            Sharing::Full => {
                log::info!("--quota: {quota} are nearly used up; nobody new is sent to")
            }
            Sharing::Ended => log::warn!(
                "--quota: {quota} are as good as used up; nothing is passed on until {until}, players here are served from what is kept for them"
            ),
        }
    }

    /// What the status shows.
    pub fn shown(&self) -> Shown<'_> {
        Shown {
            used_bytes: self.months.used,
            resets_unix_s: self.months.resets_at(self.unix_s, self.first_day),
            trouble: match &self.store {
                Store::File {
                    failed: Some(why), ..
                } => why,
                _ => &self.damaged,
            },
        }
    }

    /// Writes what was used, no lease: the process ends. A file that was damaged stays, and goes on saying so.
    fn close(&mut self, sent_in_all: u64, unix_s: u64) -> Option<Write> {
        let _ = self.tick(sent_in_all, unix_s, Duration::ZERO);
        self.write(0).filter(|_| self.damaged.is_empty())
    }
}

/// Tells the node what it may send before anything is sent.
pub fn begin(quota: Option<&mut Quota>, node: &mut Node<'_>, now: Instant) {
    node.begin_day(today(unix_s()));
    if let Some(quota) = quota {
        quota.tell(node, now, 0);
    }
}

/// A write on its way: a tired card may take its time, and the node goes on meanwhile.
type Writing = Aside<(Write, io::Result<Wrote>)>;

fn begin_write(write: Write) -> Option<Writing> {
    let work = move || {
        let result = write.run();
        (write, result)
    };
    // A system that has no thread to give is asked again a second later.
    aside::begin(work).ok()
}

/// Follows the clock and the counters for as long as the node runs.
pub async fn keep(running: &Running) {
    let mut last = running.engine.clock.uptime();
    let mut writing: Option<Writing> = None;
    loop {
        Timer::after(TICK).await;
        let uptime = running.engine.clock.uptime();
        let passed = uptime.saturating_sub(last);
        last = uptime;
        if let Some((write, result)) = writing.as_ref().and_then(Aside::take) {
            writing = None;
            if let Some(quota) = running.quota.borrow_mut().as_mut() {
                quota.written(&write, result);
            }
        }
        let wanted = look(running, passed);
        if writing.is_none() {
            writing = wanted.and_then(begin_write);
        }
    }
}

fn look(running: &Running, passed: Duration) -> Option<Write> {
    let unix_s = unix_s();
    let mut quota = running.quota.borrow_mut();
    let rates = running.rates.borrow_mut();
    running.engine.with(|node, now| {
        node.begin_day(today(unix_s));
        let quota = quota.as_mut()?;
        let write = quota.tick(node.stats().tx_bytes, unix_s, passed);
        let (rate_bps, _) = rates.now(now, node.stats());
        quota.tell(node, now, rate_bps / 8);
        write
    })
}

/// Writes what was used, at the end.
pub async fn close(running: &Running) {
    let write = {
        let sent = running.engine.look().stats().tx_bytes;
        let mut quota = running.quota.borrow_mut();
        quota.as_mut().and_then(|quota| quota.close(sent, unix_s()))
    };
    let Some(writing) = write.and_then(begin_write) else {
        return;
    };
    if let (_, Err(error)) = writing.await {
        log::warn!("--quota: the sum cannot be written: {error}");
    }
}

/// Seconds since 1970 by the system's clock.
fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The day's number in the ledger.
fn today(unix_s: u64) -> u32 {
    u32::try_from(unix_s / 86_400).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::config::{self, Role};
    use crate::driver::config_file::from_toml;
    use std::fs;
    use std::path::Path;
    use std::vec::Vec;

    const NOV_22: u64 = 1_795_305_600;
    const SECOND: Duration = Duration::from_secs(1);

    fn config(quota: &str, state: Option<&Path>) -> Config {
        let state = state.map_or(String::new(), |state| format!("state = {state:?}\n"));
        let uri = "weir://a.example:8479/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";
        let toml =
            format!("streams = [{uri:?}]\nquota = {quota:?}\nupload-limit = \"8Mbit\"\n{state}");
        config::resolve(Role::Relay, &from_toml("f.toml", &toml).unwrap()).unwrap()
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("weir-quota-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A process that sends all it may, up to `rate` bytes a second, for so many seconds. Returns what it sent and how often it wrote.
    fn run(quota: &mut Quota, from_s: u64, seconds: u64, rate: u64) -> (u64, u32) {
        let (mut sent, mut writes) = (quota.counted, 0);
        for second in 0..seconds {
            let may = quota.covered().saturating_sub(quota.months.used);
            sent += rate.min(may);
            if let Some(write) = quota.tick(sent, from_s + second, SECOND) {
                let result = write.run();
                writes += u32::from(result.is_ok());
                quota.written(&write, result);
            }
        }
        (sent, writes)
    }

    #[test]
    fn over_any_number_of_crashes_no_more_than_the_quota_is_sent_and_little_is_lost() {
        let scratch = Scratch::new("crashes");
        let config = config("1GB", Some(&scratch.0));
        let (mut sent, mut writes) = (0, 0);
        for start in 0..40 {
            // Each dies without a word after some minutes.
            let mut quota = Quota::open_at(&config, NOV_22 + start * 600).unwrap();
            assert!(quota.months.used >= sent, "sent bytes were forgotten");
            let (more, wrote) = run(&mut quota, NOV_22 + start * 600, 300 + start, 50_000);
            (sent, writes) = (sent + more, writes + wrote);
        }
        assert!(sent <= 1_000_000_000 && sent > 250_000_000, "{sent}");
        assert!(writes < 40 * 4, "{writes} writes");
    }

    #[test]
    fn an_evening_costs_few_writes_and_a_clean_stop_no_byte() {
        let scratch = Scratch::new("evening");
        let config = config("200GB", Some(&scratch.0));
        let mut quota = Quota::open_at(&config, NOV_22).unwrap();
        let (sent, writes) = run(&mut quota, NOV_22, 6 * 3_600, 1_000_000);
        assert_eq!(sent, 6 * 3_600 * 1_000_000);
        assert!(writes <= 6 * 5, "{writes} writes in six hours at the limit");
        let last = quota.close(sent, NOV_22 + 6 * 3_600).unwrap();
        last.run().unwrap();
        let again = Quota::open_at(&config, NOV_22 + 7 * 3_600).unwrap();
        assert_eq!(again.months.used, sent);
    }

    #[test]
    fn a_disk_that_cannot_be_written_leaves_an_even_share() {
        let scratch = Scratch::new("disk");
        fs::write(&scratch.0, "a file where a directory should be").unwrap();
        let config = config("31GB", Some(&scratch.0));
        let mut all = 0;
        for start in 0..10 {
            let mut quota = Quota::open_at(&config, NOV_22 + start * 3_600).unwrap();
            assert!(!quota.shown().trouble.is_empty());
            let (sent, writes) = run(&mut quota, NOV_22 + start * 3_600, 3_600, 1_000_000);
            assert_eq!(writes, 0);
            all += sent;
        }
        // 1 GB a day, however often it starts.
        assert!(all <= 10 * 1_000_000_000 / 24, "{all}");
        assert!(all > 9 * 1_000_000_000 / 24, "{all}");
        fs::remove_file(&scratch.0).unwrap();
        let mut quota = Quota::open_at(&config, NOV_22).unwrap();
        assert!(quota.shown().trouble.is_empty());
        assert!(run(&mut quota, NOV_22, 10, 1_000_000).0 == 10_000_000);
    }

    #[test]
    fn what_nobody_would_remember_is_for_nobody_else() {
        let scratch = Scratch::new("forgotten");
        fs::write(&scratch.0, "a file where a directory should be").unwrap();
        let config = config("200GB", Some(&scratch.0));
        let mut quota = Quota::open_at(&config, NOV_22).unwrap();
        for hour in 0..24 {
            run(&mut quota, NOV_22 + hour * 3_600, 3_600, 10);
            let (may, kept, sharing) = quota.terms(0);
            assert_eq!((kept, sharing), (may, Sharing::Ended), "hour {hour}");
        }
        // It is written as soon as it can be: at the end, too.
        fs::remove_file(&scratch.0).unwrap();
        let sent = quota.counted;
        quota.close(sent, NOV_22 + 86_400).unwrap().run().unwrap();
        let again = Quota::open_at(&config, NOV_22 + 86_400).unwrap();
        assert_eq!(again.months.used, sent);
        assert!(sent > 800_000, "{sent}");
    }

    #[test]
    fn a_disk_that_is_mounted_late_is_read_before_it_is_written() {
        let (scratch, disk) = (Scratch::new("mount"), Scratch::new("disk-to-mount"));
        let known = config("200GB", Some(&disk.0));
        let mut quota = Quota::open_at(&known, NOV_22).unwrap();
        let (sent, _) = run(&mut quota, NOV_22, 1_000, 1_000_000);
        quota.close(sent, NOV_22 + 1_000).unwrap().run().unwrap();
        // The mount point is not even there, and then it is a directory with something in it.
        for at_start in ["a file in the way", ""] {
            match at_start {
                "" => fs::create_dir_all(&scratch.0).unwrap(),
                text => fs::write(&scratch.0, text).unwrap(),
            }
            let config = config("200GB", Some(&scratch.0));
            let mut quota = Quota::open_at(&config, NOV_22 + 2_000).unwrap();
            let (more, _) = run(&mut quota, NOV_22 + 2_000, 100, 1_000);
            let _ = fs::remove_file(&scratch.0);
            let _ = fs::remove_dir_all(&scratch.0);
            fs::rename(&disk.0, &scratch.0).unwrap();
            let (later, writes) = run(&mut quota, NOV_22 + 2_100, 2_000, 200_000);
            assert!(
                writes > 0 && quota.months.used == sent + later,
                "{more} {quota:?}"
            );
            quota.close(later, NOV_22 + 4_100).unwrap().run().unwrap();
            let again = Quota::open_at(&config, NOV_22 + 4_200).unwrap();
            assert_eq!(again.months.used, sent + later);
            fs::remove_dir_all(&scratch.0).unwrap();
            quota = Quota::open_at(&known, NOV_22).unwrap();
            run(&mut quota, NOV_22, 1_000, 1_000_000);
            quota.close(sent, NOV_22 + 1_000).unwrap().run().unwrap();
        }
    }

    #[test]
    fn crashes_near_the_end_leave_this_node_its_own_stream() {
        let scratch = Scratch::new("near-the-end");
        let config = config("200GB", Some(&scratch.0));
        fs::create_dir_all(&scratch.0).unwrap();
        let nearly = Months {
            used: 198_100_000_000,
            ..Months::default()
        };
        lease::write(&lease::file_in(&scratch.0), &nearly, 0).unwrap();
        for start in 0..10 {
            let from_s = NOV_22 + start * 700;
            let mut quota = Quota::open_at(&config, from_s).unwrap();
            let (_, writes) = run(&mut quota, from_s, 600, 1_000);
            assert!(writes <= 2, "{writes} writes");
        }
        let left = Quota::open_at(&config, NOV_22 + 7_000).unwrap();
        let left = left.quota_bytes - left.months.used;
        assert!(left > 400_000_000, "{left}");
    }

    #[test]
    fn a_sharing_that_has_ended_stays_so_over_a_restart_and_no_longer() {
        let scratch = Scratch::new("ended");
        let small = config("1GB", Some(&scratch.0));
        let mut quota = Quota::open_at(&small, NOV_22).unwrap();
        let (sent, _) = run(&mut quota, NOV_22, 870, 1_000_000);
        assert_eq!(quota.terms(1_000_000).2, Sharing::Ended);
        quota.close(sent, NOV_22 + 900).unwrap().run().unwrap();
        let mut again = Quota::open_at(&small, NOV_22 + 1_000).unwrap();
        assert_eq!(again.terms(0).2, Sharing::Ended);
        // The owner has given more, or it is another month.
        let more = config("2GB", Some(&scratch.0));
        assert_eq!(
            Quota::open_at(&more, NOV_22 + 1_000).unwrap().terms(0).2,
            Sharing::Open
        );
        run(&mut again, NOV_22 + 9 * 86_400, 4 * 3_600, 0);
        assert_eq!(again.terms(0).2, Sharing::Open);
    }

    #[test]
    fn a_clock_that_is_set_after_a_crash_finds_what_was_sent_without_it() {
        let scratch = Scratch::new("unset");
        let config = config("200GB", Some(&scratch.0));
        let mut quota = Quota::open_at(&config, NOV_22).unwrap();
        let (november, _) = run(&mut quota, NOV_22, 60, 1_000);
        quota.close(november, NOV_22 + 60).unwrap().run().unwrap();
        let mut unset = 0;
        for _ in 0..4 {
            let mut quota = Quota::open_at(&config, 30).unwrap();
            unset += run(&mut quota, 30, 60, 1_000_000).0;
        }
        let december = NOV_22 + 10 * 86_400;
        let mut quota = Quota::open_at(&config, december).unwrap();
        let (sent, _) = run(&mut quota, december, 3 * 3_600 + 60, 1_000);
        assert!(quota.months.used >= unset + sent, "{quota:?}");
        assert!(
            quota.months.month > 0 && quota.months.before.0 == 0,
            "{quota:?}"
        );
    }

    #[test]
    fn a_disk_that_fails_later_is_tried_again() {
        let scratch = Scratch::new("later");
        let config = config("1GB", Some(&scratch.0));
        let mut quota = Quota::open_at(&config, NOV_22).unwrap();
        let leased = quota.covered();
        fs::remove_dir_all(&scratch.0).unwrap();
        fs::write(&scratch.0, "in the way").unwrap();
        let (sent, _) = run(&mut quota, NOV_22, 500, 1_000_000);
        assert!(sent < leased + 500 * 400, "{sent} of {leased} on disk");
        assert!(!quota.shown().trouble.is_empty());
        fs::remove_file(&scratch.0).unwrap();
        let (sent, writes) = run(&mut quota, NOV_22 + 500, 620, 1_000_000);
        assert!(writes > 0 && sent > leased + 1_000_000 && quota.shown().trouble.is_empty());
    }

    #[test]
    fn a_damaged_file_is_a_quota_used_up_until_the_next_month() {
        for (n, damage) in ["weir-quota-v1 1 2 3", ""].into_iter().enumerate() {
            let scratch = Scratch::new(&format!("damaged-{n}"));
            let config = config("1GB", Some(&scratch.0));
            fs::create_dir_all(&scratch.0).unwrap();
            fs::write(lease::file_in(&scratch.0), damage).unwrap();
            // However often it starts.
            let mut quota = Quota::open_at(&config, NOV_22).unwrap();
            assert!(quota.close(0, NOV_22).is_none());
            let mut quota = Quota::open_at(&config, NOV_22).unwrap();
            assert_eq!(run(&mut quota, NOV_22, 60, 1_000_000).0, 0, "{damage:?}");
            run(&mut quota, NOV_22 + 60, 4 * 3_600, 0);
            assert!(!quota.shown().trouble.is_empty());
            let december = NOV_22 + 9 * 86_400;
            run(&mut quota, december, 3 * 3_600 + 60, 0);
            let (sent, _) = run(&mut quota, december + 4 * 3_600, 30, 1_000);
            assert_eq!(sent, 30_000);
        }
    }

    #[test]
    fn the_sharing_ends_in_good_time_and_once() {
        let mut quota = Quota::open_at(&config("1GB", None), NOV_22).unwrap();
        let mut seen = Vec::new();
        let mut left = 900_000_000u64;
        while left > 0 {
            quota.sharing = quota.sharing_with(left, 1_000_000);
            seen.push((quota.sharing, left));
            left = left.saturating_sub(1_000_000);
        }
        let first = |what| seen.iter().find(|(sharing, _)| *sharing == what).unwrap().1;
        assert_eq!(
            [first(Sharing::Full), first(Sharing::Ended)],
            [120_000_000, 40_000_000]
        );
        assert_eq!(quota.sharing_with(900_000_000, 0), Sharing::Ended);
        assert_eq!(quota.shown().used_bytes, 0);
        assert_eq!(quota.shown().trouble, "");
    }
}
