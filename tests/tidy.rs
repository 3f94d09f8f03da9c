//! The rules of the house, read from the source itself: layers import only downward, the core needs no operating
//! system, files stay readable, dependencies are accounted for. The last tests show that each rule can fail.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up; those on one line are siblings. A layer imports only from lines above its own.
const LAYERS: [&[&str]; 10] = [
    &["error", "limits", "rng", "time"],
    &["wire"],
    &["coding"],
    &["storage"],
    &["media"],
    &["http"],
    &["crypto"],
    &["proto"],
    &["memory"],
    &["driver"],
];
/// Beside the order: a simulated world of everything but the real one.
const SIM: &str = "sim";
/// A file longer than this holds more than one idea.
const MAX_LINES: usize = 900;
/// The files that may: an allocator cannot be written otherwise, nor functions of the C library.
const UNSAFE_FILES: [&str; 3] = ["src/allocator.rs", "src/c_heap.rs", "src/thread_name.rs"];
const UNSAFE: &str = "unsafe code";
/// What makes an item part of the tests alone.
const TEST_ATTRIBUTE: &str = "#[cfg(test)]";

#[test]
fn the_source_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: Vec<(String, String)> = rust_files(&root.join("src"))
        .iter()
        .map(|file| {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap();
            (name.to_string(), fs::read_to_string(file).unwrap())
        })
        .collect();
    let test_modules: Vec<String> = sources
        .iter()
        .flat_map(|(name, source)| test_modules(name, source))
        .collect();
    let complaints: Vec<String> = sources
        .iter()
        .flat_map(|(name, source)| check(name, source, &test_modules))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_dependency_is_accounted_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let account = fs::read_to_string(root.join("docs/DEPENDENCIES.md")).unwrap();
    let complaints = check_dependencies(&manifest, &account);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Everything wrong with one file; `name` is its path from the repository's root, `test_modules` those whose files are
/// compiled for tests only.
fn check(name: &str, source: &str, test_modules: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = source.lines().count();
    if lines > MAX_LINES {
        complaints.push(format!("{name}: {lines} lines, at most {MAX_LINES}"));
    }
    if !source.starts_with("//!") {
        complaints.push(format!(
            "{name}:1: does not begin with //! and what it is for"
        ));
    }
    let module = module_path(name);
    let code = blank_text(source);
    let is_test = (1..=module.len()).any(|end| test_modules.contains(&module[..end].join("/")));
    let shipped = match is_test {
        true => String::new(),
        false => blank_tests(&code),
    };
    let words = Words::of(&code);
    let mut findings = forbidden_everywhere(&words);
    findings.retain(|(_, what)| !UNSAFE_FILES.contains(&name) || what != UNSAFE);
    complain(&mut complaints, name, &code, findings);
    let words = Words::of(&shipped);
    let layer = module.first().copied().unwrap_or("");
    complain(&mut complaints, name, &shipped, forbidden_in(layer, &words));
    complain(&mut complaints, name, &shipped, upward(&module, &words));
    complaints
}

/// A position in the code and what is wrong there.
type Finding = (usize, String);

fn complain(complaints: &mut Vec<String>, name: &str, code: &str, findings: Vec<Finding>) {
    for (at, what) in findings {
        let line = code[..at].matches('\n').count() + 1;
        complaints.push(format!("{name}:{line}: {what}"));
    }
}

/// `src/proto/node/join.rs` is the module `proto, node, join`; `src/lib.rs` and the programs are none.
fn module_path(name: &str) -> Vec<&str> {
    let path = name.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.trim_end_matches("/mod");
    match path {
        "lib" | "main" | "allocator" | "c_heap" | "thread_name" => Vec::new(),
        program if program.starts_with("bin/") => Vec::new(),
        path => path.split('/').collect(),
    }
}

/// The modules in files of their own that this file declares as `#[cfg(test)] mod name;`.
fn test_modules(name: &str, source: &str) -> Vec<String> {
    let code = blank_text(source);
    let items = code.match_indices(TEST_ATTRIBUTE).map(|(at, _)| {
        let item = &code[at..];
        Words::of(&item[..item_length(item)])
    });
    let module = module_path(name);
    items
        .filter_map(|words| match words.0.as_slice() {
            [.., (_, "mod"), (_, child), (_, ";")] => {
                Some([&module[..], &[child]].concat().join("/"))
            }
            _ => None,
        })
        .collect()
}

fn forbidden_everywhere(words: &Words) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, (at, word)) in words.0.iter().enumerate() {
        let what = match *word {
            "unsafe" => UNSAFE,
            "AtomicU64" | "AtomicI64" => "64-bit atomics, which MIPS does not have",
            "todo" | "unimplemented" | "dbg" if words.get(index + 1) == "!" => {
                "unfinished code (todo!, unimplemented!, dbg!)"
            }
            _ => continue,
        };
        findings.push((*at, what.to_string()));
    }
    findings
}

fn forbidden_in(layer: &str, words: &Words) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Programs are their own masters; `memory` is where pools are allocated, once.
    let is_driver = layer == "driver" || layer.is_empty();
    // lib.rs and main.rs have no layer; main.rs may use std, and lib.rs declares it.
    let may_use_std = is_driver || layer == SIM || layer == "memory";
    for (index, (at, word)) in words.0.iter().enumerate() {
        let path_goes_on = words.get(index + 1) == "::";
        let calls_now = path_goes_on && words.get(index + 2) == "now";
        let what = match *word {
            "std" | "alloc" if path_goes_on && !may_use_std => "the core names std or alloc",
            "HashMap" | "HashSet" if !is_driver => "a hash table: its order is not replayable",
            "SystemTime" if !is_driver => "a clock outside the driver",
            "Instant" if calls_now && !is_driver && !layer.is_empty() => {
                "a clock outside the driver"
            }
            _ => continue,
        };
        findings.push((*at, what.to_string()));
    }
    findings
}

/// Every path from the crate's root into a layer that this module may not use.
fn upward(module: &[&str], words: &Words) -> Vec<Finding> {
    let Some(&from) = module.first() else {
        return Vec::new();
    };
    if rank(from).is_none() && from != SIM {
        return vec![(0, format!("{from} is no layer"))];
    }
    let mut findings = Vec::new();
    for (index, (at, word)) in words.0.iter().enumerate() {
        let follows_path = index > 0 && words.get(index - 1) == "::";
        let after_root = match *word {
            "crate" if words.get(index + 1) == "::" => Some(index + 2),
            "super" if !follows_path => root_behind_supers(module.len(), index, words),
            _ => None,
        };
        for head in after_root.map_or(Vec::new(), |index| heads(index, words)) {
            if !may_import(from, head) {
                findings.push((*at, format!("{from} imports {head}")));
            }
        }
    }
    findings
}

/// Where the path goes on if the `super`s that begin at `index` lead up to the crate's root.
fn root_behind_supers(depth: usize, index: usize, words: &Words) -> Option<usize> {
    let is_super = |step: &usize| {
        words.get(index + 2 * step) == "super" && words.get(index + 2 * step + 1) == "::"
    };
    let supers = (0..).take_while(is_super).count();
    (supers >= depth).then_some(index + 2 * supers)
}

/// The first names of the paths that begin at `index`: one, or several in braces.
fn heads<'a>(index: usize, words: &Words<'a>) -> Vec<&'a str> {
    if words.get(index) != "{" {
        return vec![words.get(index)];
    }
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut begins = true;
    for (_, word) in words.0.iter().skip(index) {
        match *word {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => begins = depth == 1,
            name if begins && depth == 1 => {
                heads.push(name);
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|siblings| siblings.contains(&layer))
}

fn may_import(from: &str, to: &str) -> bool {
    match (rank(from), rank(to)) {
        _ if from == to => true,
        (Some(from), Some(to)) => to < from,
        (None, Some(_)) => from == SIM && to != "driver",
        // Simulated nodes live in the same pools as real ones.
        (None, None) => from == SIM && to == "memory",
        _ => false,
    }
}

/// The dependencies that the manifest names and the account does not.
fn check_dependencies(manifest: &str, account: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            in_dependencies = section.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies
            && let Some((name, _)) = line.split_once(['=', '.'])
            && !account.contains(&format!("`{}`", name.trim()))
        {
            complaints.push(format!(
                "docs/DEPENDENCIES.md says nothing about {}",
                name.trim()
            ));
        }
    }
    complaints
}

/// Words, `::` and single marks with their positions: as much of a lexer as the rules need.
struct Words<'a>(Vec<(usize, &'a str)>);

impl<'a> Words<'a> {
    fn of(code: &'a str) -> Self {
        let mut words = Vec::new();
        let mut at = 0;
        while let Some(first) = code[at..].chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let rest = &code[at..];
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                words.push((at, &rest[..length]));
            }
            at += length;
        }
        Self(words)
    }

    /// The word at `index`, or nothing past the end.
    fn get(&self, index: usize) -> &'a str {
        self.0.get(index).map_or("", |(_, word)| word)
    }
}

/// The source with comments, strings and character literals turned into spaces, lines kept.
fn blank_text(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let in_word = before.is_alphanumeric() || before == '_';
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment_length(rest),
            '"' => string_length(rest),
            'r' | 'b' | 'c' if !in_word => raw_string_length(rest),
            '\'' => character_length(rest),
            _ => 0,
        };
        let (taken, blank) = match skipped {
            0 => (first.len_utf8(), false),
            length => (length, true),
        };
        for c in rest[..taken].chars() {
            code.push(if blank && c != '\n' { ' ' } else { c });
        }
        before = if blank { ' ' } else { first };
        rest = &rest[taken..];
    }
    code
}

fn comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Of `r"…"`, `r#"…"#` and their `b` and `c` kin; 0 for a word that only begins alike.
fn raw_string_length(rest: &str) -> usize {
    let prefix = ["br", "cr", "r"]
        .iter()
        .find(|prefix| rest.starts_with(**prefix));
    let Some(after) = prefix.map(|prefix| &rest[prefix.len()..]) else {
        return 0;
    };
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return 0;
    }
    let body = &after[hashes + 1..];
    let end = format!("\"{}", "#".repeat(hashes));
    match body.find(&end) {
        Some(at) => rest.len() - body.len() + at + end.len(),
        None => rest.len(),
    }
}

/// Of `'x'` or `'\n'`; 0 for a lifetime.
fn character_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// The code with every item under `#[cfg(test)]` turned into spaces.
fn blank_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(TEST_ATTRIBUTE) {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let length = item_length(item);
        kept.extend(
            item[..length]
                .chars()
                .map(|c| if c == '\n' { c } else { ' ' }),
        );
        rest = &item[length..];
    }
    kept + rest
}

/// Up to the `;` or the closing brace that ends the item, its attributes included.
fn item_length(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | '}') {
            return at + 1;
        }
    }
    item.len()
}

#[cfg(test)]
mod can_fail {
    use super::*;

    #[track_caller]
    fn found(name: &str, code: &str, what: &str) {
        let complaints = check(name, &format!("//! x\n{code}"), &[]);
        assert_eq!(complaints, [format!("{name}:{what}")], "{code}");
    }

    #[track_caller]
    fn fine(name: &str, code: &str) {
        assert_eq!(
            check(name, &format!("//! x\n{code}"), &[]),
            [""; 0],
            "{code}"
        );
    }

    #[test]
    fn imports_upward_or_sideways() {
        found(
            "src/wire/a.rs",
            "use crate::proto::Node;",
            "2: wire imports proto",
        );
        found(
            "src/media/a.rs",
            "\nfn f() { crate::http::g() }",
            "3: media imports http",
        );
        found(
            "src/rng.rs",
            "use crate::time::Span;",
            "2: rng imports time",
        );
        found(
            "src/proto/a/b.rs",
            "use crate::{wire::x, driver::{y, z}};",
            "2: proto imports driver",
        );
        found(
            "src/proto/a.rs",
            "use crate::sim::World;",
            "2: proto imports sim",
        );
        found(
            "src/driver/a.rs",
            "use crate::sim::World;",
            "2: driver imports sim",
        );
        found(
            "src/sim/a.rs",
            "use crate::driver::udp;",
            "2: sim imports driver",
        );
        found(
            "src/wire/mod.rs",
            "use super::crypto::sign;",
            "2: wire imports crypto",
        );
        found(
            "src/wire/a.rs",
            "use super::super::crypto::sign;",
            "2: wire imports crypto",
        );
        found("src/wire/a.rs", "use crate::*;", "2: wire imports *");
        found("src/odd/a.rs", "", "1: odd is no layer");
    }

    #[test]
    fn imports_downward_and_within() {
        fine(
            "src/wire/a.rs",
            "use crate::error::Full; use super::b; use crate::wire::c;",
        );
        fine(
            "src/proto/a.rs",
            "use crate::{coding::block, crypto::{sign, merkle}, proto::b};",
        );
        fine("src/proto/a/b.rs", "use super::super::c::driver;");
        fine("src/sim/a.rs", "use crate::proto::Node; use std::vec::Vec;");
        fine("src/lib.rs", "pub use crate::proto::Node;");
    }

    #[test]
    fn what_the_core_may_not_name() {
        let std = "2: the core names std or alloc";
        found("src/wire/a.rs", "use std::vec::Vec;", std);
        found("src/wire/a.rs", "fn f(x: &::alloc::vec::Vec<u8>) {}", std);
        found(
            "src/time.rs",
            "fn f() { let _ = std ::mem::size_of::<u8>(); }",
            std,
        );
        let hash = "2: a hash table: its order is not replayable";
        found("src/sim/a.rs", "fn f(x: HashMap<u8, u8>) {}", hash);
        let clock = "2: a clock outside the driver";
        found("src/sim/a.rs", "fn f() { Instant::now(); }", clock);
        found("src/memory.rs", "fn f(x: SystemTime) {}", clock);
        fine("src/main.rs", "fn f(x: SystemTime) {}");
        fine(
            "src/driver/a.rs",
            "use std::time::SystemTime; fn f() { Instant::now(); }",
        );
        fine(
            "src/wire/a.rs",
            "fn f(std: u8) { let alloc = std; let now = Instant::ZERO; }",
        );
    }

    #[test]
    fn what_nobody_may_write() {
        found("src/driver/a.rs", "unsafe fn f() {}", "2: unsafe code");
        found(
            "src/driver/a.rs",
            "#[cfg(test)] mod tests { use core::sync::atomic::AtomicU64; }",
            "2: 64-bit atomics, which MIPS does not have",
        );
        let unfinished = "2: unfinished code (todo!, unimplemented!, dbg!)";
        found("src/main.rs", "fn main() { todo!() }", unfinished);
        found("src/main.rs", "fn main() { dbg !(1); }", unfinished);
        fine("src/lib.rs", "#![forbid(unsafe_code)]");
        fine("src/allocator.rs", "unsafe impl GlobalAlloc for A {}");
    }

    #[test]
    fn only_code_counts_and_all_of_it() {
        fine(
            "src/wire/a.rs",
            "// std::x\n/* unsafe /* todo!() */ std::y */ fn f() {}",
        );
        fine(
            "src/wire/a.rs",
            r##"const A: &str = "std::x \" unsafe"; const B: &str = r#"" std::y"#;"##,
        );
        fine(
            "src/wire/a.rs",
            "const Q: char = '\"'; const R: u8 = b'\\''; fn f<'a>(x: &'a str) {}",
        );
        found(
            "src/wire/a.rs",
            "const Q: char = '\"'; use std::x;",
            "2: the core names std or alloc",
        );
        found(
            "src/wire/a.rs",
            "fn f<'a>(x: &'a str) -> std::x {}",
            "2: the core names std or alloc",
        );
        found(
            "src/wire/a.rs",
            "const B: &str = r\"\\\"; use std::x;",
            "2: the core names std or alloc",
        );
    }

    #[test]
    fn tests_may_use_std_and_what_follows_them_may_not() {
        let tests = "#[cfg(test)]\n#[allow(x)]\nmod tests { use std::vec; use crate::proto; fn f() { {} } }\n";
        fine("src/wire/a.rs", tests);
        fine("src/wire/a.rs", "#[cfg(test)]\nuse std::vec;\nfn f() {}");
        let std = "5: the core names std or alloc";
        found("src/wire/a.rs", &format!("{tests}use std::vec;"), std);
        let any = "#[cfg(any(test, feature = \"std\"))] use std::vec;";
        found("src/wire/a.rs", any, "2: the core names std or alloc");
    }

    #[test]
    fn files_that_are_compiled_for_tests_only() {
        let code =
            "mod a; #[cfg(test)] mod b; #[cfg(test)] mod c {} #[cfg(test)]\npub(crate) mod d;";
        let tests = test_modules("src/http/mod.rs", code);
        assert_eq!(tests, ["http/b", "http/d"]);
        let std = "//! x\nuse std::vec;";
        assert_eq!(check("src/http/b.rs", std, &tests), [""; 0]);
        assert_eq!(check("src/http/b/x.rs", std, &tests), [""; 0]);
        assert_eq!(
            check("src/http/bb.rs", std, &tests),
            ["src/http/bb.rs:2: the core names std or alloc"]
        );
    }

    #[test]
    fn the_shape_of_a_file() {
        assert_eq!(
            check("src/a.rs", "fn f() {}", &[]),
            [
                "src/a.rs:1: does not begin with //! and what it is for",
                "src/a.rs:1: a is no layer"
            ]
        );
        let long = format!("//! x\n{}", "\n".repeat(MAX_LINES));
        assert_eq!(
            check("src/lib.rs", &long, &[]),
            ["src/lib.rs: 901 lines, at most 900"]
        );
    }

    #[test]
    fn dependencies_without_a_reason() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb.version = \"1\"\n\
                        [target.'cfg(unix)'.dev-dependencies]\nc = \"1\"\n[features]\nd = []\n";
        assert_eq!(check_dependencies(manifest, "`a`, `b`, `c`"), [""; 0]);
        assert_eq!(
            check_dependencies(manifest, "`b` but a"),
            [
                "docs/DEPENDENCIES.md says nothing about a",
                "docs/DEPENDENCIES.md says nothing about c"
            ]
        );
    }
}
