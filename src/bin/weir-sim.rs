//! The simulator's command line.
#![forbid(unsafe_code)]

use lexopt::prelude::*;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use weir::sim::plot;
use weir::sim::report::Report;
use weir::sim::scenario::Scenario;
use weir::sim::table;
use weir::sim::world::World;

const HELP: &str = "\
weir-sim: the grid in a simulated network, replayed exactly by a seed

weir-sim run FILE...   run scenarios (TOML; docs/SIMULATION.md explains the keys); exit 1 when one falls short
weir-sim table [FILE...] run all of scenarios/ (or these); write docs/sim-results.toml, and from it what plots writes
weir-sim table --check   run those marked `ci = true` (or these) and compare; exit 1 when a figure moved too far or falls short
weir-sim plots           write docs/SIM-RESULTS.md and docs/sim/*.svg from docs/sim-results.toml
weir-sim list          what there is in scenarios/

  --seed N             another seed than the scenario's
  --nodes N            scale all groups to about N nodes together
  --seconds N          another length
  --loss P --spare N --max-children N   other values for all
  --json               one JSON object a scenario instead of the table, with series by second
  --worst N            tell about the N listeners that fared worst (default 5)
  --trace NODE         tell everything about one node, on stderr, once a second
  --threads N          default: all processors; changes nothing but the time it takes
";

#[derive(Default)]
struct Options {
    seed: Option<u64>,
    nodes: Option<usize>,
    seconds: Option<u64>,
    loss: Option<f64>,
    spare: Option<u8>,
    max_children: Option<usize>,
    json: bool,
    check: bool,
    worst: Option<usize>,
    trace: Option<u32>,
    threads: Option<usize>,
    words: Vec<String>,
}

fn main() -> ExitCode {
    match options().and_then(|options| command(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(complaint) => {
            eprintln!("weir-sim: {complaint}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, String> {
    read_options().map_err(|error| error.to_string())
}

fn read_options() -> Result<Options, lexopt::Error> {
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seed") => options.seed = Some(parser.value()?.parse()?),
            Long("nodes") => options.nodes = Some(parser.value()?.parse()?),
            Long("seconds") => options.seconds = Some(parser.value()?.parse()?),
            Long("loss") => options.loss = Some(parser.value()?.parse()?),
            Long("spare") => options.spare = Some(parser.value()?.parse()?),
            Long("max-children") => options.max_children = Some(parser.value()?.parse()?),
            Long("worst") => options.worst = Some(parser.value()?.parse()?),
            Long("trace") => options.trace = Some(parser.value()?.parse()?),
            Long("threads") => options.threads = Some(parser.value()?.parse()?),
            Long("json") => options.json = true,
            Long("check") => options.check = true,
            Long("help") | Short('h') => options.words = vec!["help".into()],
            Value(word) => options.words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn command(options: &Options) -> Result<bool, String> {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", files @ ..] if !files.is_empty() => {
            let mut well = true;
            for file in files {
                well &= run(options, Path::new(file))?.is_well();
            }
            Ok(well)
        }
        ["list"] => list(),
        ["table", files @ ..] => table(options, files),
        ["plots"] => draw(&committed()?),
        ["help", ..] => {
            print!("{HELP}");
            Ok(true)
        }
        _ => Err("what to do? See weir-sim --help".into()),
    }
}

fn load(file: &Path) -> Result<Scenario, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Scenario::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn run(options: &Options, file: &Path) -> Result<Report, String> {
    let mut scenario = load(file)?;
    scenario.seed = options.seed.unwrap_or(scenario.seed);
    scenario.seconds = options.seconds.unwrap_or(scenario.seconds);
    scenario.network.loss = options.loss.unwrap_or(scenario.network.loss);
    scenario.stream.spare = options.spare.unwrap_or(scenario.stream.spare);
    if let Some(nodes) = options.nodes {
        scenario.scale(nodes);
    }
    for group in &mut scenario.groups {
        group.max_children = options.max_children.unwrap_or(group.max_children);
    }
    let name = name_of(file);
    let threads = options
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let began = Instant::now();
    let world = World::new(scenario.clone(), options.trace);
    let report = Report::new(&name, &scenario, world.run(threads));
    let took = began.elapsed().as_secs_f64();
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text(options.worst.unwrap_or(5)));
    }
    let pace = took / scenario.seconds as f64;
    eprintln!(
        "took {took:.1} s on {threads} threads: {pace:.3} s for each simulated second; {}",
        memory()
    );
    Ok(report)
}

const TABLE: &str = "docs/sim-results.toml";
const TABLE_PAGE: &str = "docs/SIM-RESULTS.md";
const PLOTS: &str = "docs/sim";

fn committed() -> Result<table::Table, String> {
    let text = std::fs::read_to_string(TABLE).unwrap_or_default();
    table::parse(&text).map_err(|error| format!("{TABLE}: {error}"))
}

/// Runs scenarios and writes or compares the table.
fn table(options: &Options, files: &[&str]) -> Result<bool, String> {
    let mut committed = committed()?;
    let files = match files {
        [] if options.check => quick()?,
        [] => scenarios()?,
        files => files.iter().map(PathBuf::from).collect(),
    };
    let mut now = table::Table::new();
    let mut all_well = true;
    for file in files {
        let report = run(options, &file)?;
        all_well &= report.is_well();
        now.insert(report.name.clone(), table::figures(&report));
    }
    if options.check {
        let moved = table::differences(&committed, &now);
        moved.iter().for_each(|what| println!("{what}"));
        return Ok(moved.is_empty() && all_well);
    }
    committed.extend(now);
    write(TABLE, &table::to_toml(&committed))?;
    draw(&committed)
}

/// Writes the page and the plots.
fn draw(table: &table::Table) -> Result<bool, String> {
    let quick: Vec<String> = quick()?.iter().map(|file| name_of(file)).collect();
    let page = format!(
        "# Results\n\nWritten by `weir-sim table`; [SIMULATION.md](SIMULATION.md) says what the columns mean. CI runs the scenarios marked\n* and compares; the others are run by hand.\n\n{}",
        table::to_markdown(table, &quick)
    );
    write(TABLE_PAGE, &page)?;
    std::fs::create_dir_all(PLOTS).map_err(|error| format!("{PLOTS}: {error}"))?;
    for (name, svg) in plot::plots(table) {
        write(&format!("{PLOTS}/{name}"), &svg)?;
    }
    Ok(true)
}

fn write(file: &str, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{file}: {error}"))
}

fn name_of(file: &Path) -> String {
    file.file_stem()
        .map_or("".into(), |name| name.to_string_lossy().into_owned())
}

/// Scenarios that CI compares.
fn quick() -> Result<Vec<PathBuf>, String> {
    let mut quick = Vec::new();
    for file in scenarios()? {
        if load(&file)?.ci {
            quick.push(file);
        }
    }
    Ok(quick)
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    peak.map_or(String::new(), |line| {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

fn scenarios() -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir("scenarios").map_err(|error| format!("scenarios: {error}"))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    Ok(files)
}

fn list() -> Result<bool, String> {
    for file in scenarios()? {
        let scenario = load(&file)?;
        println!(
            "{:<28} {:>6} nodes {:>5} s  {}",
            file.display(),
            scenario.nodes(),
            scenario.seconds,
            scenario.about
        );
    }
    Ok(true)
}
