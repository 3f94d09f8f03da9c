//! The memory plan: every pool with its size as a sum, and whether the sum is within the owner's budget.

use super::failure::Failure;
use super::units::Size;
use std::fmt;
use std::format;
use std::string::String;
use std::vec::Vec;

/// One pool of equal pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pool {
    name: &'static str,
    count: u64,
    each_bytes: u64,
    why: String,
}

/// What a node will hold for as long as it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    pools: Vec<Pool>,
}

impl Plan {
    /// Adds a pool of `count` pieces of `each_bytes`; `why` says what the count follows from.
    pub fn add(&mut self, name: &'static str, count: u64, each_bytes: u64, why: impl Into<String>) {
        self.pools.push(Pool {
            name,
            count,
            each_bytes,
            why: why.into(),
        });
    }

    /// The sum of all pools, in bytes.
    pub fn total_bytes(&self) -> u64 {
        let sizes = self.pools.iter().map(Pool::bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// Refuses a plan over the budget; `fewer` are settings with which it would fit.
    pub fn within(&self, budget_bytes: u64, fewer: &[String]) -> Result<(), Failure> {
        let total_bytes = self.total_bytes();
        if total_bytes <= budget_bytes {
            return Ok(());
        }
        // Rounded up to whole KiB, so that the size named is enough.
        let enough = Size(total_bytes.div_ceil(1_024).saturating_mul(1_024));
        let ways = [&[format!("--memory {enough}")], fewer].concat();
        Err(Failure::usage(
            "--memory",
            format!(
                "the plan needs {enough} and the budget is {}; give it {}",
                Size(budget_bytes),
                ways.join(" or ")
            ),
        ))
    }
}

impl Pool {
    fn bytes(&self) -> u64 {
        self.count.saturating_mul(self.each_bytes)
    }
}

/// A table that ends in its sum; numbers are bytes.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pool in &self.pools {
            writeln!(
                f,
                "  {:<16} {:>7} x {:>9} = {:>11}  {}",
                pool.name,
                pool.count,
                pool.each_bytes,
                pool.bytes(),
                pool.why
            )?;
        }
        writeln!(f, "  {:<16} {:>33}", "total", self.total_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn plan() -> Plan {
        let mut plan = Plan::default();
        plan.add("ring", 4_000, 1_232, "chunks of 10 s");
        plan.add("preambles", 2, 65_536, "one a stream");
        plan
    }

    #[test]
    fn the_sum_is_printed_under_its_parts() {
        assert_eq!(plan().total_bytes(), 4_928_000 + 131_072);
        let text = plan().to_string();
        assert!(
            text.contains("4000 x      1232 =     4928000  chunks of 10 s\n"),
            "{text}"
        );
        assert!(text.ends_with("5059072\n"), "{text}");
        let ends: Vec<Option<usize>> = [" 4928000", " 131072", " 5059072"]
            .iter()
            .zip(text.lines())
            .map(|(number, line)| line.find(number).map(|at| at + number.len()))
            .collect();
        assert_eq!(ends, [ends[0]; 3], "the sums stand under each other");
        assert!(ends[0].is_some());
    }

    #[test]
    fn over_the_budget_is_refused_with_a_size_that_is_enough() {
        assert_eq!(plan().within(5_059_072, &[]), Ok(()));
        let fewer = [String::from("--max-players 3")];
        let error = plan().within(5_059_071, &fewer).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        let text = error.to_string();
        assert!(
            text.ends_with("give it --memory 4941KiB or --max-players 3"),
            "{text}"
        );
        assert_eq!(plan().within(4_941 * 1_024, &[]), Ok(()));
    }

    #[test]
    fn hostile_numbers_saturate() {
        let mut plan = Plan::default();
        plan.add("a", u64::MAX, 2, "");
        plan.add("b", 1, 1, "");
        assert_eq!(plan.total_bytes(), u64::MAX);
        assert!(plan.within(1, &[]).is_err());
    }
}
