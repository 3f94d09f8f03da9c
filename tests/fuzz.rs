//! What fuzzing kept, again: every input of `fuzz/corpus`, and some seeded alterations of each. `docs/FUZZING.md` says how to look
//! for more.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::PathBuf;
use weir::rng::Rng;

/// Alterations of each input.
const ALTERED: usize = 20;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

/// The names in a folder, without the ending, in order.
fn names(name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(name)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A few bytes changed, a piece left out, or a piece said twice.
fn altered(input: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = input.to_vec();
    let mut at = || rng.below(input.len().max(1) as u64) as usize;
    let (from, to, what) = (at(), at(), at());
    let range = from.min(to)..from.max(to);
    match what % 4 {
        0 => drop(out.drain(range)),
        1 => out.extend_from_slice(&input[range]),
        _ => out.iter_mut().skip(from).take(3).for_each(|byte| {
            *byte ^= 1 << (what % 8);
        }),
    }
    out
}

#[test]
fn what_was_kept_does_no_harm() {
    for (name, run) in targets::ALL {
        let mut rng = Rng::new(1);
        let inputs = fs::read_dir(folder("corpus").join(name)).unwrap();
        let mut inputs: Vec<_> = inputs.map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() >= 3, "{name} has no corpus");
        for path in inputs {
            // Where a panic shows no input, the name of it is in the captured output.
            println!("{}", path.display());
            let input = fs::read(path).unwrap();
            run(&input);
            for _ in 0..ALTERED {
                run(&altered(&input, &mut rng));
            }
        }
    }
}

#[test]
fn every_target_is_listed() {
    let listed = targets::ALL.map(|(name, _)| name.to_owned());
    assert_eq!(names("fuzz_targets"), listed);
    assert_eq!(names("corpus"), listed);
}

/// A harness in which nothing happens finds nothing.
#[test]
fn the_grid_of_the_node_target_plays() {
    // Wait 64 steps, four times.
    let quiet = targets::node::play(&[0, 63, 0, 63, 0, 63, 0, 63]);
    assert!(quiet.heard_bytes > 20_000, "{quiet:?}");
    assert_eq!(quiet.sessions, 1);
    // The neighbour says Hello; his handshake goes on by itself.
    let visited = targets::node::play(&[0, 63, 6, 0, 3]);
    assert_eq!(visited.sessions, 2);
    // Every chunk forged on its way in is refused: nothing wrong is heard, and the rest is.
    let forged: Vec<u8> = (0..100).flat_map(|n| [0, 1, 4, 0, 40 + n, 1]).collect();
    let forged = targets::node::play(&[&[0, 63][..], &forged, &[0, 63]].concat());
    assert!(forged.heard_bytes > 0, "{forged:?}");
}
