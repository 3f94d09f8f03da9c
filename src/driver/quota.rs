//! The monthly quota: hard, over restarts and power cuts. `months` says which month it is, `lease` what is on disk, and this what the node
//! may still send.
//!
//! Without a state directory the count begins with the process. With one that cannot be written, nothing is passed on beyond what was
//! leased; this node's own players are served from an even share, what is left over 31 days, which cannot add up to more than
//! the quota however often the process starts.

use super::config::Config;
use super::lease::{self, Kept, TOO_SOON};
use super::months::{self, Months, Steadiness};
use super::units::Size;
use super::view::Running;
use crate::proto::line::Sharing;
use crate::proto::node::Node;
use crate::time::Instant;
use core::time::Duration;
use smol::Timer;
use std::path::PathBuf;
use std::string::String;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{format, io};

/// The clock and the counters are looked at this often.
const TICK: Duration = Duration::from_secs(1);

/// A disk that could not be written is tried again after this; and so long a lease may lag behind what has to be remembered.
const AGAIN: Duration = Duration::from_secs(600);
const REMEMBER: Duration = Duration::from_secs(3_600);

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
    /// In this file, which says so many bytes in all; `failed` tells why it could not be written last.
    File {
        file: PathBuf,
        leased: u64,
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
    months: Months,
    lease: u64,
}

impl Write {
    fn run(&self) -> io::Result<()> {
        lease::write(&self.file, &self.months, self.lease)
    }
}

impl Quota {
    /// The quota of a configuration, with what was used of it before; nothing if there is none.
    pub fn open(config: &Config) -> Option<Self> {
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
            unix_s: unix_s(),
        };
        if let Some(state) = config.state.as_deref().filter(|_| quota_bytes > 0) {
            quota.restore(lease::file_in(state));
        }
        Some(quota)
    }

    fn restore(&mut self, file: PathBuf) {
        let mut leased = 0;
        match lease::read(&file) {
            Kept::Nothing => {}
            Kept::Months(months) => {
                leased = months.used;
                self.months = months;
            }
            Kept::Broken(why) => {
                log::warn!(
                    "--quota: {} {why}; this month's quota counts as used up (remove the file to begin anew)",
                    file.display()
                );
                self.months.used = self.quota_bytes;
                leased = self.quota_bytes;
            }
        }
        self.store = Store::File {
            file,
            leased,
            failed: None,
        };
        // Which month it is has to be known before the first lease is written.
        self.look(Duration::ZERO);
        if let Some(write) = self.wanted_write() {
            let result = write.run();
            self.written(&write, result);
        }
    }

    /// Looks at the clock.
    fn look(&mut self, passed: Duration) {
        self.unix_s = unix_s();
        let begun = self
            .months
            .look(&mut self.steadiness, self.unix_s, passed, self.first_day);
        if begun {
            log::info!(
                "--quota: a new month has begun; {} were used before",
                Size(self.months.before.1)
            );
            self.sharing = Sharing::Open;
            self.even_share = 0;
            if let Store::File { leased, .. } = &mut self.store {
                // What is on disk is the old month's.
                *leased = self.months.used;
            }
        }
    }

    /// Takes in what was sent since the last time, and says what has to be written now.
    fn tick(&mut self, sent_in_all: u64, passed: Duration) -> Option<Write> {
        self.look(passed);
        self.months.add(sent_in_all.saturating_sub(self.counted));
        self.counted = sent_in_all.max(self.counted);
        self.since_write += passed;
        let left = self.quota_bytes.saturating_sub(self.months.used);
        if let Store::File {
            failed: Some(_), ..
        } = self.store
        {
            let ms = u64::try_from(passed.as_millis()).unwrap_or(0);
            let share = u128::from(left) * u128::from(ms) / (u128::from(MONTH_S) * 1_000);
            self.even_share += u64::try_from(share).unwrap_or(0);
        }
        self.wanted_write()
    }

    /// A new lease when a quarter of the last one is left, or when there is something to remember.
    fn wanted_write(&mut self) -> Option<Write> {
        let Store::File {
            file,
            leased,
            failed,
        } = &self.store
        else {
            return None;
        };
        let ahead = leased.saturating_sub(self.months.used);
        let low = ahead < self.lease / 4 && *leased < self.quota_bytes;
        let aged = self.months.next.is_some() && self.since_write >= REMEMBER;
        let due = failed.is_none() || self.since_write >= AGAIN;
        if !due || !(low || aged || failed.is_some()) {
            return None;
        }
        if low && self.since_write < TOO_SOON && *leased > 0 && failed.is_none() {
            self.lease = (self.lease * 2).min(self.most_lease);
        }
        let left = self.quota_bytes.saturating_sub(self.months.used);
        Some(Write {
            file: file.clone(),
            months: self.months,
            lease: self.lease.min(left),
        })
    }

    /// Takes in what became of a write.
    fn written(&mut self, write: &Write, result: io::Result<()>) {
        self.since_write = Duration::ZERO;
        let Store::File {
            file,
            leased,
            failed,
        } = &mut self.store
        else {
            return;
        };
        match result {
            // A month that began while it was being written has a count of its own.
            Ok(()) if write.months.month == self.months.month => {
                *leased = write.months.used.saturating_add(write.lease);
                self.even_share = 0;
                if failed.take().is_some() {
                    log::info!("--quota: {} can be written again", file.display());
                }
            }
            Ok(()) => {}
            Err(error) => {
                if failed.is_none() {
                    log::warn!(
                        "--quota: {} cannot be written: {error}; what was sent could not be remembered, so nothing more is passed on beyond {}",
                        file.display(),
                        Size(*leased)
                    );
                }
                *failed = Some(format!("the quota cannot be kept on disk: {error}"));
            }
        }
    }

    /// Bytes that may be used up now, with what is on disk.
    fn covered(&self) -> u64 {
        let covered = match &self.store {
            Store::Nowhere => self.quota_bytes,
            Store::File { leased, .. } => leased.saturating_add(self.even_share),
        };
        covered.min(self.quota_bytes)
    }

    /// Tells the node what it may send, when it sends so many bytes a second.
    fn tell(&mut self, node: &mut Node<'_>, now: Instant, rate: u64) {
        let left = self.quota_bytes.saturating_sub(self.months.used);
        let fetching = FETCHING.saturating_mul(self.months.left_s(self.unix_s, self.first_day));
        let reserve = fetching.min(self.quota_bytes / 10);
        let sharing = self.sharing_with(left.saturating_sub(reserve), rate);
        if sharing != self.sharing {
            self.sharing = sharing;
            self.say(sharing);
        }
        let may = self.covered().saturating_sub(self.months.used);
        // What is not on disk yet is a part of the reserve.
        let kept = reserve.saturating_sub(left - may.min(left));
        let failing = matches!(
            self.store,
            Store::File {
                failed: Some(_),
                ..
            }
        );
        let told = match failing && may < self.lease / 4 {
            true => Sharing::Ended,
            false => sharing,
        };
        node.set_allowance(now, Some(may), kept, told);
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
                "--quota: {quota} are as good as used up; nothing is passed on until {until}, players here are served on"
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
                _ => "",
            },
        }
    }

    /// Writes what was used, no lease: the process ends.
    fn close(&mut self, sent_in_all: u64) -> Option<Write> {
        let _ = self.tick(sent_in_all, Duration::ZERO);
        match &self.store {
            Store::File {
                file, failed: None, ..
            } => Some(Write {
                file: file.clone(),
                months: self.months,
                lease: 0,
            }),
            _ => None,
        }
    }
}

/// Tells the node what it may send before anything is sent.
pub fn begin(quota: Option<&mut Quota>, node: &mut Node<'_>, now: Instant) {
    node.begin_day(today(unix_s()));
    if let Some(quota) = quota {
        quota.tell(node, now, 0);
    }
}

/// Follows the clock and the counters for as long as the node runs.
pub async fn keep(running: &Running) {
    let mut last = running.engine.clock.uptime();
    loop {
        Timer::after(TICK).await;
        let uptime = running.engine.clock.uptime();
        let passed = uptime.saturating_sub(last);
        last = uptime;
        let write = look(running, passed);
        if let Some(write) = write {
            // It may take as long as a tired card takes.
            let (write, result) = smol::unblock(move || {
                let result = write.run();
                (write, result)
            })
            .await;
            if let Some(quota) = running.quota.borrow_mut().as_mut() {
                quota.written(&write, result);
            }
            look(running, Duration::ZERO);
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
        let write = quota.tick(rates.accepted_bytes(node.stats()), passed);
        let (rate_bps, _) = rates.now(now, node.stats());
        quota.tell(node, now, rate_bps / 8);
        write
    })
}

/// Writes what was used, at the end.
pub async fn close(running: &Running) {
    let write = {
        let rates = running.rates.borrow();
        let sent = rates.accepted_bytes(running.engine.look().stats());
        let mut quota = running.quota.borrow_mut();
        quota.as_mut().and_then(|quota| quota.close(sent))
    };
    if let Some(write) = write
        && let Err(error) = smol::unblock(move || write.run()).await
    {
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
