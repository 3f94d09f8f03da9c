//! The program's allocator at work: it counts, it holds no page for zeros, it gives big pieces back, and beyond the cap
//! the process ends with one line.

#[path = "../src/allocator.rs"]
mod allocator;

use std::process::Command;
use std::{env, fs, hint};
use weir::driver::heap::ACCOUNT;

#[global_allocator]
static HEAP: allocator::Heap = allocator::Heap;

const MIB: usize = 1 << 20;

/// Says to a second process of this test how it is to end.
const ORDER: &str = "WEIR_TEST_HEAP";

/// No test harness: all of this process's memory is counted.
fn main() {
    match env::var(ORDER).as_deref() {
        Ok("cap") => exceed_the_cap(),
        Ok("system") => exceed_the_system(),
        _ => {
            every_byte_is_counted();
            zeros_are_not_resident_and_big_pieces_go_back();
            pieces_keep_their_content_as_they_grow();
            beyond_the_cap_the_process_ends("cap", "are given out and 2097152 more were asked for");
            beyond_the_cap_the_process_ends("system", "the system has not got");
            println!("test result: ok. 5 passed; 0 failed");
        }
    }
}

fn live() -> u64 {
    ACCOUNT.counted().0
}

fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

fn every_byte_is_counted() {
    let (before, _, calls) = ACCOUNT.counted();
    for bytes in [1, 100, 16_383, 16_384, 3 * MIB] {
        let piece = hint::black_box(vec![1_u8; bytes]);
        assert_eq!(live() - before, piece.len() as u64);
    }
    assert_eq!(live(), before);
    assert_eq!(ACCOUNT.counted().2 - calls, 5);
}

fn zeros_are_not_resident_and_big_pieces_go_back() {
    const MANY: usize = 64 * MIB;
    let before = resident();
    let mut zeros = hint::black_box(vec![0_u8; MANY]);
    assert!(resident() < before + MIB, "nobody has written there");
    zeros.fill(1);
    assert!(resident() >= before + MANY);
    drop(zeros);
    assert!(resident() < before + MIB, "it is the system's again");
}

fn pieces_keep_their_content_as_they_grow() {
    let mut numbers: Vec<u32> = Vec::new();
    numbers.extend(0..300_000);
    assert!(numbers.iter().zip(0..).all(|(&number, i)| number == i));
    numbers.truncate(100);
    numbers.shrink_to_fit();
    assert!(numbers.iter().zip(0..).all(|(&number, i)| number == i));
}

fn beyond_the_cap_the_process_ends(order: &str, says: &str) {
    let own = env::current_exe().unwrap();
    let ended = Command::new(own).env(ORDER, order).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("weir: --memory: ") && said.contains(says),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

fn exceed_the_cap() {
    ACCOUNT.set_cap(live() as usize + MIB);
    let fits = hint::black_box(vec![1_u8; MIB / 2]);
    drop(fits);
    drop(hint::black_box(vec![1_u8; 2 * MIB]));
    println!("it went on");
}

fn exceed_the_system() {
    // No system has half of all addresses.
    drop(hint::black_box(vec![1_u8; isize::MAX as usize - MIB]));
    println!("it went on");
}
