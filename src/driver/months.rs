//! Which month of the quota it is, and what was sent in it, with clocks that may be wrong.
//!
//! The rule: **what was counted is never forgotten, and a new month begins only when the clock has said so for three hours of running in
//! which it did not jump.** Until then the old month's quota holds, and what is sent counts in both. A clock that was never set (it
//! stands before [`BUILT`]) says nothing; 31 days of running are a month then, which is longer than any. A clock that goes back to an
//! earlier month is believed after as long, and takes along what was counted since it was last that month. A month begins with
//! nothing if it is later than all before it, or if the one before has been run through.

use core::time::Duration;
use std::format;
use std::string::String;

/// 2026-01-01: a clock that stands before this has not been set.
pub const BUILT: u64 = 1_767_225_600;

/// A clock that has kept its pace for so long is believed.
const BELIEVED: Duration = Duration::from_secs(3 * 3_600);

/// A difference between the clock's pace and the running time that is more than a correction.
const JUMP_S: u64 = 300;

/// What a month is without a clock.
const LONG_MONTH: Duration = Duration::from_secs(31 * 86_400);

/// Who has run for so long in a month has run in it to its end; a day of the shortest may be lost.
const SHORT_MONTH: Duration = Duration::from_secs(27 * 86_400);

const DAY_S: u64 = 86_400;

/// A month that begins on the quota's day: months since the year 0; 0 while no clock has told.
pub type Month = u32;

/// Days since 1970 as year, month (1 to 12) and day (Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
pub fn civil(days: u64) -> (u32, u32, u32) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

/// Days since 1970 of a date, the inverse of [`civil`].
fn days_of(year: u32, month: u32, day: u32) -> u64 {
    let year = u64::from(year) - u64::from(month <= 2);
    let march_month = u64::from((month + 9) % 12);
    let day_of_year = (153 * march_month + 2) / 5 + u64::from(day) - 1;
    let year_of_era = year % 400;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (year / 400 * 146_097 + day_of_era).saturating_sub(719_468)
}

/// The month at `unix_s`, when months begin on `first_day` (1 to 28), 00:00 UTC.
fn month_at(unix_s: u64, first_day: u32) -> Month {
    let (year, month, day) = civil(unix_s / DAY_S);
    year * 12 + month - 1 - u32::from(day < first_day)
}

/// When the month after this one begins, in seconds since 1970.
fn end_of(month: Month, first_day: u32) -> u64 {
    let next = month + 1;
    days_of(next / 12, next % 12 + 1, first_day) * DAY_S
}

/// `2026-11-22`.
pub fn date(unix_s: u64) -> String {
    let (year, month, day) = civil(unix_s / DAY_S);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A month that the clock tells and that is not believed yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Next {
    /// Which; 0 while the clock is not set.
    pub month: Month,
    /// What was sent since the clock told of another month than the one that holds, or of none: it may belong to any of them.
    pub used: u64,
    /// How long the clock has told it.
    pub told: Duration,
}

/// What was sent in which month.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Months {
    /// The month whose quota holds.
    pub month: Month,
    /// Bytes sent in it.
    pub used: u64,
    /// Running time counted in it.
    pub ran: Duration,
    /// The month that was before this one began by itself, and what was sent in it.
    pub before: (Month, u64),
    /// The latest month from which the clock has jumped, and what was sent in all of those.
    pub jumped: (Month, u64),
    /// The month that may have begun.
    pub next: Option<Next>,
    /// The quota whose sharing has ended in this month; 0: none has.
    pub ended: u64,
}

/// How steady the clock has been since the process began.
#[derive(Clone, Copy, Default, Debug)]
pub struct Steadiness {
    last_unix_s: Option<u64>,
    steady: Duration,
}

impl Months {
    /// So many bytes were sent since the clock was looked at before last; to be called after a look, so that what falls between two
    /// months counts in the later one as well.
    pub fn add(&mut self, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
        if let Some(next) = &mut self.next {
            next.used = next.used.saturating_add(bytes);
        }
    }

    /// A file tells of more than was known: what was sent without it counts as well, in whichever month.
    pub fn take_along(&mut self, found: Self) {
        let sent = self.used;
        *self = found;
        if sent > 0 {
            self.next.get_or_insert_default();
        }
        self.add(sent);
    }

    /// Looks at the clock, `passed` after the last look. True when another month has begun.
    pub fn look(
        &mut self,
        steadiness: &mut Steadiness,
        unix_s: u64,
        passed: Duration,
        first_day: u32,
    ) -> bool {
        self.ran += passed;
        if unix_s < BUILT {
            *steadiness = Steadiness::default();
            if self.ran < LONG_MONTH {
                if self.month > 0 {
                    self.next.get_or_insert_default();
                }
                return false;
            }
            let month = if self.month == 0 { 0 } else { self.month + 1 };
            self.begin(month, 0, true);
            return true;
        }
        let jumped = steadiness.jumped(unix_s, passed);
        let told = month_at(unix_s, first_day);
        if self.month == 0 {
            // What was counted before the clock was set belongs here.
            self.month = told;
        }
        if told == self.month {
            self.next = None;
            return false;
        }
        let rolled = self.next.is_none();
        let next = self.next.get_or_insert_default();
        if next.month != told {
            (next.month, next.told) = (told, steadiness.steady);
        } else if !jumped {
            next.told += passed;
        }
        let Next { used, told, .. } = *next;
        if told < BELIEVED {
            return false;
        }
        let month = next.month;
        self.begin(month, used, rolled);
        true
    }

    /// Another month holds, of which so many bytes are known. `rolled`: the clock went there by itself, and did not jump.
    fn begin(&mut self, month: Month, used: u64, rolled: bool) {
        let latest = self.month.max(self.before.0).max(self.jumped.0);
        let is_over = rolled && self.ran >= SHORT_MONTH;
        let is_new = is_over || month > latest;
        let mut left = (self.month, self.used);
        self.used = used;
        if !is_new {
            // All goes along that was counted since it was last the month.
            self.used = left.1;
            left.1 = 0;
            for (since, counted) in [&mut self.before, &mut self.jumped] {
                if *since >= month {
                    self.used = self.used.saturating_add(core::mem::take(counted));
                }
            }
        }
        if rolled && is_new {
            // What jumps there were are so long ago that they tell nothing of this month.
            if is_over {
                self.jumped = (0, 0);
            }
            self.before = left;
        } else {
            let (latest, sum) = self.jumped;
            self.jumped = (latest.max(left.0), sum.saturating_add(left.1));
        }
        (self.month, self.ran, self.next, self.ended) = (month, Duration::ZERO, None, 0);
    }

    /// Seconds until the month ends, as far as anybody can tell.
    pub fn left_s(&self, unix_s: u64, first_day: u32) -> u64 {
        let by_running = LONG_MONTH.saturating_sub(self.ran).as_secs();
        match self.resets_at(unix_s, first_day) {
            Some(end) => end - unix_s,
            None => by_running,
        }
    }

    /// When the month ends, in seconds since 1970, where the clock is set and within it.
    pub fn resets_at(&self, unix_s: u64, first_day: u32) -> Option<u64> {
        let known = self.month > 0 && unix_s >= BUILT;
        let end = known.then(|| end_of(self.month, first_day))?;
        (end > unix_s).then_some(end)
    }
}

impl Steadiness {
    /// Whether the clock has jumped since the last look. The first look of a process knows of no jump and of no steadiness.
    fn jumped(&mut self, unix_s: u64, passed: Duration) -> bool {
        let last = self.last_unix_s.replace(unix_s);
        let expected = last.map(|last| last + passed.as_secs());
        let jumped = expected.is_none_or(|expected| expected.abs_diff(unix_s) > JUMP_S);
        self.steady = match jumped {
            true => Duration::ZERO,
            false => self.steady + passed,
        };
        jumped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    /// 2026-11-22 00:00.
    const NOV_22: u64 = 1_795_305_600;
    const DEC_1: u64 = NOV_22 + 9 * DAY_S;
    const NOVEMBER: Month = 2026 * 12 + 10;

    /// A box that sends 100 bytes a minute and looks at its clock as often.
    struct Rig {
        months: Months,
        steadiness: Steadiness,
        sent: u64,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                months: Months::default(),
                steadiness: Steadiness::default(),
                sent: 0,
            }
        }

        fn minutes(&mut self, from_unix_s: u64, n: u64) {
            for minute in 0..n {
                let unix_s = from_unix_s + minute * 60;
                self.months.look(&mut self.steadiness, unix_s, MINUTE, 1);
                self.months.add(100);
                self.sent += 100;
            }
        }

        /// Power is lost and comes back.
        fn restart(&mut self) {
            self.steadiness = Steadiness::default();
        }

        #[track_caller]
        fn is(&self, month: Month, used: u64) {
            assert_eq!(
                (self.months.month, self.months.used),
                (month, used),
                "{:?}",
                self.months
            );
        }
    }

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(date(NOV_22), "2026-11-22");
        assert_eq!(date(951_782_400), "2000-02-29");
        for days in (0..80_000).step_by(13) {
            let (year, month, day) = civil(days);
            assert_eq!(days_of(year, month, day), days);
        }
        assert_eq!(month_at(DEC_1 - 1, 1), NOVEMBER);
        assert_eq!(month_at(DEC_1, 1), NOVEMBER + 1);
        assert_eq!(end_of(NOVEMBER, 1), DEC_1);
        // From the 15th of November to the 14th of December.
        assert_eq!(month_at(DEC_1, 15), NOVEMBER);
        assert_eq!(date(end_of(NOVEMBER, 15)), "2026-12-15");
        assert_eq!(end_of(2026 * 12 + 11, 1), days_of(2027, 1, 1) * DAY_S);
    }

    #[test]
    fn a_steady_clock_begins_the_month_on_the_minute() {
        let mut rig = Rig::new();
        rig.minutes(DEC_1 - 4 * 3_600, 4 * 60);
        rig.is(NOVEMBER, rig.sent);
        rig.minutes(DEC_1, 1);
        rig.is(NOVEMBER + 1, 100);
        rig.minutes(DEC_1 + 60, 10);
        rig.is(NOVEMBER + 1, 1_100);
    }

    #[test]
    fn a_box_that_was_off_over_the_turn_waits_three_hours_and_loses_nothing() {
        let mut rig = Rig::new();
        rig.minutes(NOV_22, 60);
        rig.restart();
        rig.minutes(DEC_1 + 2 * DAY_S, 100);
        rig.is(NOVEMBER, 16_000);
        // Off again: what was waited is kept with the rest.
        rig.restart();
        rig.minutes(DEC_1 + 3 * DAY_S, 90);
        // All that was sent since the clock told of December.
        rig.is(NOVEMBER + 1, 19_000);
    }

    #[test]
    fn a_clock_that_is_not_set_yet_changes_nothing() {
        let mut rig = Rig::new();
        rig.minutes(30, 600);
        rig.is(0, 60_000);
        // NTP comes.
        rig.minutes(NOV_22, 10);
        rig.is(NOVEMBER, 61_000);
        rig.restart();
        rig.minutes(30, 600);
        rig.is(NOVEMBER, 121_000);
        rig.minutes(NOV_22 + DAY_S, 600);
        rig.is(NOVEMBER, 181_000);
    }

    #[test]
    fn without_any_clock_a_month_is_31_days_of_running() {
        let mut rig = Rig::new();
        rig.minutes(30, 31 * 1_440 - 1);
        rig.is(0, rig.sent);
        rig.minutes(30, 1);
        rig.is(0, 100);
    }

    #[test]
    fn a_clock_that_errs_for_a_while_is_not_believed() {
        for wrong in [
            DEC_1 + 400 * DAY_S,
            NOV_22 - 300 * DAY_S,
            DEC_1 + 5,
            NOV_22 - 40 * DAY_S,
        ] {
            let mut rig = Rig::new();
            rig.minutes(NOV_22, 300);
            for round in 0..5 {
                rig.minutes(wrong + round * 60, 150);
                rig.is(NOVEMBER, rig.sent);
                rig.minutes(NOV_22 + DAY_S + round * 3_600, 10);
                rig.is(NOVEMBER, rig.sent);
            }
        }
    }

    #[test]
    fn a_clock_that_errs_for_long_and_comes_back_takes_everything_along() {
        // A year ahead for a day: believed, and begun anew. Back: all of it counts.
        let mut rig = Rig::new();
        rig.minutes(NOV_22, 300);
        rig.minutes(NOV_22 + 365 * DAY_S, 1_440);
        assert_eq!(rig.months.month, NOVEMBER + 12);
        rig.minutes(NOV_22 + 2 * DAY_S, 600);
        // What was sent while the clock was not yet believed stands in both months, and so counts twice.
        rig.is(NOVEMBER, rig.sent + 180 * 100);
        // Back a month for a day, and forth: November is not begun twice.
        let mut rig = Rig::new();
        rig.minutes(NOV_22, 300);
        rig.minutes(NOV_22 - 30 * DAY_S, 1_440);
        rig.is(NOVEMBER - 1, rig.sent);
        rig.minutes(NOV_22 + 2 * DAY_S, 600);
        rig.is(NOVEMBER, rig.sent);
    }

    #[test]
    fn a_clock_that_errs_over_two_months_takes_everything_along() {
        const EVENING: u64 = 4 * 60;
        let late_november = NOV_22 + DAY_S;
        let wrongs: [&[u64]; 3] = [
            // Back into September, and over its end.
            &[NOV_22 - 53 * DAY_S - 3 * 3_600],
            // Ahead, and over the end of that month.
            &[DEC_1 + 365 * DAY_S - 4 * 3_600, DEC_1 + 365 * DAY_S],
            // Ahead, and ahead again.
            &[DEC_1 + 150 * DAY_S, DEC_1 + 220 * DAY_S],
        ];
        for wrong in wrongs {
            let mut rig = Rig::new();
            rig.minutes(NOV_22, 300);
            for &from_unix_s in wrong {
                rig.minutes(from_unix_s, 2 * EVENING);
                assert_ne!(rig.months.month, NOVEMBER);
            }
            rig.minutes(late_november, EVENING);
            assert_eq!(rig.months.month, NOVEMBER);
            assert!(rig.months.used >= rig.sent, "{:?}", rig.months);
            // What is right again forgets in time.
            rig.minutes(NOV_22 + 2 * DAY_S, 40 * 1_440);
            rig.is(NOVEMBER + 2, 2 * 1_440 * 100);
        }
    }

    #[test]
    fn what_was_sent_before_the_clock_was_set_belongs_to_the_month_it_then_is() {
        let mut rig = Rig::new();
        rig.minutes(NOV_22, 300);
        rig.restart();
        rig.minutes(30, 100);
        rig.restart();
        rig.minutes(30, 100);
        rig.minutes(DEC_1 + DAY_S, 181);
        rig.is(NOVEMBER + 1, 38_100);
    }

    #[test]
    fn the_wall_clock_may_do_what_it_likes_and_nothing_is_counted_too_little() {
        // True time runs from the 22nd to the 30th of November: whatever the clock says for less than three hours at a time,
        // everything counts.
        for seed in 1..30 {
            let mut rng = crate::rng::Rng::new(seed);
            let mut rig = Rig::new();
            let mut minute = 0;
            rig.minutes(NOV_22, 200);
            while minute < 8 * 1_440 {
                let n = 1 + rng.below(170);
                let start = match rng.below(4) {
                    0 => rng.below(100),
                    1 => NOV_22 + rng.below(1_000) * DAY_S,
                    2 => NOV_22 - rng.below(300) * DAY_S,
                    _ => NOV_22 + minute * 60,
                };
                if rng.below(5) == 0 {
                    rig.restart();
                }
                rig.minutes(start, n);
                rig.minutes(NOV_22 + minute * 60, 1);
                assert!(rig.months.used >= rig.sent, "seed {seed}: {:?}", rig.months);
                minute += n + 1;
            }
        }
    }

    #[test]
    fn nor_where_it_errs_for_so_long_that_it_is_believed() {
        for seed in 1..60 {
            let mut rng = crate::rng::Rng::new(seed);
            let mut rig = Rig::new();
            rig.minutes(NOV_22, 200);
            for _ in 0..1 + rng.below(6) {
                let start = match rng.below(4) {
                    0 => rng.below(100),
                    1 => NOV_22 + rng.below(100) * DAY_S,
                    2 => NOV_22 - rng.below(100) * DAY_S,
                    _ => NOV_22 + DAY_S,
                };
                rig.minutes(start, 1 + rng.below(1_440));
                if rng.below(5) == 0 {
                    rig.restart();
                }
            }
            rig.minutes(NOV_22 + 7 * DAY_S, 200);
            assert_eq!(rig.months.month, NOVEMBER, "seed {seed}");
            assert!(rig.months.used >= rig.sent, "seed {seed}: {:?}", rig.months);
        }
    }
}
