//! From the settings given to the one configuration a node runs by: every value read, every default filled in.

pub use super::broadcast::Broadcast;
use super::failure::Failure;
use super::place::Place;
use super::serial_line::{self, LineRole, SerialLine};
use super::settings::{self, FILE_ONLY_KEYS, Settings};
use super::stream_uri::{HostPort, StreamUri};
use super::units::{self, Rate, Size, Time};
use super::values::{address, auto_or_off, count, dialable, path, span_between, upload_limit};
use super::web::Web;
pub use crate::proto::config::MAX_STREAMS;
use crate::time::Span;
use std::fmt;
use std::format;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::string::{String, ToString};
use std::vec::Vec;

/// The UDP port of a node that was not told another.
pub const DEFAULT_UDP_PORT: u16 = 8479;
/// The HTTP port of a node that was not told another.
pub const DEFAULT_HTTP_PORT: u16 = 8480;
/// What a relay or listener sends at most, until its owner says otherwise.
pub const DEFAULT_UPLOAD_LIMIT_BPS: u64 = 2_000_000;
/// What a relay or listener sends in a month at most, until its owner says otherwise.
pub const DEFAULT_QUOTA_BYTES: u64 = 200_000_000_000;
/// Queueing delay that a relay or listener stays below, until its owner says otherwise.
pub const DEFAULT_DELAY_TARGET: Span = Span::from_ms(50);
/// Memory the plan may use, until the owner says otherwise.
pub const DEFAULT_MEMORY_BYTES: u64 = 8 << 20;
/// How long a missing block is waited for, until the owner says otherwise.
pub const DEFAULT_WINDOW: Span = Span::from_s(4);
/// Most sockets for datagrams.
pub const MAX_BINDS: usize = 8;
/// Most extra places to begin at.
pub const MAX_PEERS: usize = 16;

/// What a node is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It signs a stream.
    Source,
    /// It forwards streams.
    Relay,
    /// It rebuilds a stream for players.
    Listen,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Relay, Self::Listen, Self::Source];

    /// As it is typed, on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Relay => "relay",
            Self::Listen => "listen",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let role = Self::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or_else(|| format!("{text:?} is not a role; write relay, listen or source"))
    }
}

/// For how many there is room: what most of the memory is for.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Neighbours that are fed.
    pub children: u16,
    /// Players.
    pub players: u16,
}

/// What one node does, and what its owner allows it.
#[derive(PartialEq, Debug)]
pub struct Config {
    /// The role, with what only that role needs.
    pub task: Task,
    /// One UDP socket each: the first of its addresses that can be bound.
    pub bind: Vec<Place>,
    /// The TCP address of the page, the status and the players.
    pub http: SocketAddr,
    /// What others should dial, where it is not the bound address.
    pub advertise: Option<SocketAddr>,
    /// More places to begin at than the URIs name.
    pub peers: Vec<HostPort>,
    /// The budget of the memory plan, in bytes.
    pub memory_bytes: u64,
    /// Bits per second sent at most, headers included; nothing is no limit.
    pub upload_limit_bps: Option<u64>,
    /// Bytes sent in a calendar month at most; nothing is no limit.
    pub quota_bytes: Option<u64>,
    /// Day of the month on which the quota begins anew, 1 to 28, UTC.
    pub quota_day: u16,
    /// Queueing delay on the way out to stay below; nothing is not watched.
    pub delay_target: Span,
    /// Nodes sent to at most.
    pub max_children: u16,
    /// HTTP players at most.
    pub max_players: u16,
    /// Many datagrams in one system call, where the kernel can.
    pub offload: bool,
    /// Stripes taken beyond the K that are needed.
    pub spare_stripes: u8,
    /// What a new player gets at once.
    pub burst: Span,
    /// How long a missing block is waited for before it is skipped.
    pub window: Span,
    /// Serial lines.
    pub serial: Vec<SerialLine>,
    /// Where node key and quota are remembered; nothing is written where there is none.
    pub state: Option<PathBuf>,
    /// What the page may do.
    pub web: Web,
}

/// The part of a [`Config`] that one role needs.
#[derive(Clone, PartialEq, Debug)]
pub enum Task {
    /// Sign and send this.
    Source(Broadcast),
    /// Carry these, at least one, no key twice.
    Relay(Vec<StreamUri>),
    /// Rebuild this.
    Listen(StreamUri),
}

/// What the demonstration is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DemoConfig {
    /// How long it runs; nothing means until it is stopped.
    pub run_for: Option<Span>,
    /// Relays between source and listener.
    pub relays: u16,
    /// Where the page is.
    pub http: SocketAddr,
}

impl Config {
    /// The role that [`Config::task`] is for.
    pub fn role(&self) -> Role {
        match self.task {
            Task::Source(_) => Role::Source,
            Task::Relay(_) => Role::Relay,
            Task::Listen(_) => Role::Listen,
        }
    }

    /// Bits per second that the node may send: none where the month allows none.
    pub fn forwarding_limit_bps(&self) -> Option<u64> {
        self.forwarding_under(self.upload_limit_bps)
    }

    /// The same under another upload limit.
    pub fn forwarding_under(&self, upload_limit_bps: Option<u64>) -> Option<u64> {
        match self.quota_bytes {
            Some(0) => Some(0),
            _ => upload_limit_bps,
        }
    }

    /// For how many there is to be room.
    pub fn places(&self) -> Places {
        Places {
            children: self.max_children,
            players: self.max_players,
        }
    }

    /// The one line a node says at its start about its owner's line.
    pub fn sharing(&self) -> String {
        match (self.upload_limit_bps, self.quota_bytes) {
            (Some(0), _) | (_, Some(0)) => String::from("sharing nothing of this line's upload"),
            (None, None) => String::from(
                "sharing this line's upload without limit (--upload-limit and --quota set one)",
            ),
            (limit, quota) => format!(
                "sharing at most {} of this line's upload (--upload-limit), {} a month (--quota){}",
                limit_text(limit.map(Rate)),
                limit_text(quota.map(Size)),
                match (&self.state, quota) {
                    (None, Some(_)) => ", counted anew with each start (--state keeps count)",
                    _ => "",
                }
            ),
        }
    }
}

/// Every value under its key, as `weir check` prints it; no secret is among them.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |key: &str, text: &dyn fmt::Display| writeln!(f, "  {key:<14} {text}");
        row("role", &self.role().name())?;
        match &self.task {
            Task::Relay(streams) => {
                for stream in streams {
                    row("stream", stream)?;
                }
            }
            Task::Listen(stream) => row("stream", stream)?,
            Task::Source(broadcast) => broadcast.rows(&mut row)?,
        }
        let bind: Vec<String> = self.bind.iter().map(ToString::to_string).collect();
        row("bind", &bind.join(" and "))?;
        row("http", &self.http)?;
        if let Some(advertise) = &self.advertise {
            row("advertise", advertise)?;
        }
        for peer in &self.peers {
            row("peer", peer)?;
        }
        row("mdns", &self.web.mdns)?;
        row("memory", &Size(self.memory_bytes))?;
        row("upload-limit", &limit_text(self.upload_limit_bps.map(Rate)))?;
        let anew = match (&self.state, self.quota_bytes) {
            (None, Some(1..)) => " (counted anew with each start: there is no state)",
            _ => "",
        };
        let quota = limit_text(self.quota_bytes.map(Size));
        row("quota", &format_args!("{quota}{anew}"))?;
        row("quota-day", &self.quota_day)?;
        match self.delay_target {
            Span::ZERO => row("delay-target", &"none (the line is not watched)")?,
            target => row("delay-target", &Time(target))?,
        }
        row("max-children", &self.max_children)?;
        row("max-players", &self.max_players)?;
        row("spare", &self.spare_stripes)?;
        row("burst", &Time(self.burst))?;
        for line in &self.serial {
            row("serial", line)?;
        }
        row("offload", &if self.offload { "auto" } else { "off" })?;
        row("window", &Time(self.window))?;
        match &self.state {
            Some(state) => row("state", &state.display()),
            None => row("state", &"none (node key and quota are not remembered)"),
        }
    }
}

fn limit_text(limit: Option<impl fmt::Display>) -> String {
    limit.map_or(String::from("unlimited"), |limit| limit.to_string())
}

/// The configuration of a node of this role.
pub fn resolve(role: Role, given: &Settings) -> Result<Config, Failure> {
    check_role(role, given)?;
    let shares = role != Role::Source;
    let http = given.one("http", address)?.unwrap_or_else(default_http);
    let upload_limit_bps = given.one("upload-limit", upload_limit)?;
    let quota_bytes = given.one("quota", units::parse_size_limit)?;
    Ok(Config {
        http,
        advertise: given.one("advertise", dialable)?,
        memory_bytes: given
            .one("memory", units::parse_size)?
            .unwrap_or(DEFAULT_MEMORY_BYTES),
        upload_limit_bps: upload_limit_bps
            .unwrap_or_else(|| shares.then_some(DEFAULT_UPLOAD_LIMIT_BPS)),
        quota_bytes: quota_bytes.unwrap_or_else(|| shares.then_some(DEFAULT_QUOTA_BYTES)),
        quota_day: given.one("quota-day", count(1, 28))?.unwrap_or(1),
        delay_target: given
            .one("delay-target", span_between(Span::ZERO, Span::from_s(1)))?
            // A source's stream is what its line is for.
            .unwrap_or(if shares {
                DEFAULT_DELAY_TARGET
            } else {
                Span::ZERO
            }),
        max_children: given.one("max-children", count(0, 1_000))?.unwrap_or(32),
        max_players: given.one("max-players", count(0, 1_000))?.unwrap_or(16),
        offload: given.one("offload", auto_or_off)?.unwrap_or(true),
        spare_stripes: given.one("spare", count(0, 16))?.unwrap_or(1) as u8,
        burst: given
            .one("burst", span_between(Span::ZERO, Span::from_s(60)))?
            .unwrap_or(Span::from_s(2)),
        window: given
            .one("window", span_between(Span::from_s(1), Span::from_s(600)))?
            .unwrap_or(DEFAULT_WINDOW),
        // What has memory comes behind what has none: before it there is nothing to give back.
        bind: bind(given)?,
        web: Web::read(given, http)?,
        peers: peers(given)?,
        serial: serial(given)?,
        state: given.one("state", path)?.or_else(state_of_the_service),
        // Last: what was typed wrongly is told before what was not typed.
        task: task(role, given)?,
    })
}

/// What the demonstration was told.
pub fn demo(given: &Settings) -> Result<DemoConfig, Failure> {
    let longest = Span::from_s(24 * 3_600);
    Ok(DemoConfig {
        run_for: given.one("for", span_between(Span::from_s(1), longest))?,
        relays: given.one("relays", count(1, 50))?.unwrap_or(5),
        http: given.one("http", address)?.unwrap_or_else(default_http),
    })
}

/// A file for a relay is no file for a source, and says so before anything else is looked at.
fn check_role(role: Role, given: &Settings) -> Result<(), Failure> {
    if let Some(file_role) = given.one("role", Role::from_str)?
        && file_role != role
        && let Some(origin) = given.origin("role")
    {
        let what = format!(
            "is {}, which does not fit {}",
            file_role.name(),
            role.name()
        );
        return Err(Failure::usage(origin, what));
    }
    let flags = given
        .names()
        .filter(|(name, _)| !FILE_ONLY_KEYS.contains(name));
    for (name, origin) in flags {
        if let Some(setting) = settings::find(name)
            && !setting
                .commands
                .iter()
                .any(|command| command.name() == role.name())
        {
            let owner = settings::belongs_to(setting);
            let what = format!("belongs to {owner}, not weir {}", role.name());
            return Err(Failure::usage(origin, what));
        }
    }
    Ok(())
}

fn task(role: Role, given: &Settings) -> Result<Task, Failure> {
    let streams: Vec<StreamUri> = given.all("streams", str::parse)?;
    if role == Role::Source {
        return match given.origin("streams") {
            Some(origin) => Err(Failure::usage(
                origin,
                "belongs to weir relay and weir listen, not weir source",
            )),
            None => Broadcast::read(given).map(Task::Source),
        };
    }
    let example = "for example weir://radio.example.org:8479/KEY";
    let (culprit, first) = match (given.origin("streams"), streams.first()) {
        (Some(origin), Some(first)) => (origin, first.clone()),
        _ => return Err(missing("URI", format!("name the stream, {example}"))),
    };
    let wired = serial(given)?
        .iter()
        .any(|line| line.role == LineRole::Link);
    if !wired && given.origin("peers").is_none() && streams.iter().any(|s| s.hosts.is_empty()) {
        let what = format!("names no host, and no serial line leads to one; write {example}");
        return Err(Failure::usage(culprit, what));
    }
    if role == Role::Listen {
        return match streams.len() {
            1 => Ok(Task::Listen(first)),
            n => Err(Failure::usage(
                culprit,
                format!("{n} streams given; weir listen takes one, weir relay takes many"),
            )),
        };
    }
    if streams.len() > MAX_STREAMS {
        let what = format!("{} streams given; at most {MAX_STREAMS}", streams.len());
        return Err(Failure::usage(culprit, what));
    }
    match twice(&streams) {
        Some(stream) => Err(Failure::usage(culprit, format!("{stream} is given twice"))),
        None => Ok(Task::Relay(streams)),
    }
}

/// A stream whose key an earlier one already has.
fn twice(streams: &[StreamUri]) -> Option<&StreamUri> {
    let earlier = |index: usize| streams[..index].iter();
    let mut each = streams.iter().enumerate();
    each.find(|(index, stream)| earlier(*index).any(|other| other.key == stream.key))
        .map(|(_, stream)| stream)
}

/// One socket for each address or device that is given.
fn bind(given: &Settings) -> Result<Vec<Place>, Failure> {
    let lists: Vec<Vec<Place>> =
        given.all("bind", |text| text.split(',').map(str::parse).collect())?;
    let all: Vec<Place> = lists.into_iter().flatten().collect();
    let twice =
        |(at, place): (usize, &Place)| all.iter().take(at).any(|other| other.is_same(place));
    match given.origin("bind") {
        None => Ok([Place::anywhere(DEFAULT_UDP_PORT)].into()),
        Some(origin) if all.len() > MAX_BINDS => {
            Err(Failure::usage(origin, format!("at most {MAX_BINDS}")))
        }
        Some(origin) if all.iter().enumerate().any(twice) => {
            Err(Failure::usage(origin, "names an address twice"))
        }
        Some(_) => Ok(all),
    }
}

fn peers(given: &Settings) -> Result<Vec<HostPort>, Failure> {
    let lists: Vec<Vec<HostPort>> =
        given.all("peers", |text| text.split(',').map(str::parse).collect())?;
    let peers: Vec<HostPort> = lists.into_iter().flatten().collect();
    match given.origin("peers") {
        Some(origin) if peers.len() > MAX_PEERS => {
            Err(Failure::usage(origin, format!("at most {MAX_PEERS}")))
        }
        _ => Ok(peers),
    }
}

fn serial(given: &Settings) -> Result<Vec<SerialLine>, Failure> {
    let lines = given.all("serial", SerialLine::parse)?;
    match (serial_line::check(&lines), given.origin("serial")) {
        (Err(why), Some(origin)) => Err(Failure::usage(origin, why)),
        _ => Ok(lines),
    }
}

pub(super) fn missing(culprit: &str, what: impl fmt::Display) -> Failure {
    Failure::usage(culprit, format!("missing; {what}"))
}

fn default_http() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_HTTP_PORT))
}

/// Under systemd with `StateDirectory=` the unit names the directory; otherwise nothing is written unless asked for.
fn state_of_the_service() -> Option<PathBuf> {
    std::env::var_os("STATE_DIRECTORY")
        .filter(|directory| !directory.is_empty())
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::config_file::from_toml;

    const URI: &str = "weir://a.example:8479/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";

    fn from(role: Role, toml: &str) -> Result<Config, Failure> {
        resolve(role, &from_toml("f.toml", toml)?)
    }

    #[track_caller]
    fn refused(role: Role, toml: &str, with: &str) {
        match from(role, toml) {
            Err(Failure::Usage(text)) => assert_eq!(text, with),
            other => panic!("{toml}: {other:?}"),
        }
    }

    fn relay(more: &str) -> String {
        format!("streams = [\"{URI}\"]\n{more}\n")
    }

    #[test]
    fn defaults_share_little_and_a_source_has_no_limit() {
        let config = from(Role::Relay, &relay("")).unwrap();
        assert_eq!(config.upload_limit_bps, Some(2_000_000));
        assert_eq!(config.quota_bytes, Some(200_000_000_000));
        assert_eq!(config.memory_bytes, 8_388_608);
        assert_eq!((config.max_children, config.max_players), (32, 16));
        assert_eq!((config.spare_stripes, config.burst), (1, Span::from_s(2)));
        assert_eq!(config.window, Span::from_s(4));
        assert_eq!(config.http.to_string(), "127.0.0.1:8480");
        let bind: Vec<_> = config.bind.iter().map(ToString::to_string).collect();
        assert_eq!(bind, ["[::]:8479, else 0.0.0.0:8479"]);
        assert_eq!(
            config.sharing(),
            "sharing at most 2Mbit of this line's upload (--upload-limit), 200GB a month (--quota), counted anew with each start (--state keeps count)"
        );
        let source = from(Role::Source, "key = \"k\"\ninput = \"-\"").unwrap();
        assert_eq!((source.upload_limit_bps, source.quota_bytes), (None, None));
    }

    #[test]
    fn limits_as_the_owner_says() {
        let config = from(
            Role::Relay,
            &relay("upload-limit = \"unlimited\"\nquota = 0"),
        )
        .unwrap();
        assert_eq!(
            (config.upload_limit_bps, config.quota_bytes),
            (None, Some(0))
        );
        assert_eq!(config.sharing(), "sharing nothing of this line's upload");
    }

    #[test]
    fn values_are_read_from_quotes_numbers_switches_and_lists() {
        let toml = "key = \"k\"\ninput = \"show.mp3\"\nrepeat = true\nk = 8\nm = \"3\"\n\
                    peers = [\"a:1\", \"b:2,[::1]:3\"]\nbitrate = \"1.5Mbit\"";
        let config = from(Role::Source, toml).unwrap();
        let Task::Source(broadcast) = config.task else {
            panic!("a source");
        };
        assert!(broadcast.repeat);
        assert_eq!((broadcast.k, broadcast.m), (Some(8), Some(3)));
        assert_eq!(broadcast.bitrate_bps, Some(1_500_000));
        let peers: Vec<_> = config.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["a:1", "b:2", "[::1]:3"]);
        assert!(matches!(
            from(Role::Source, "key = \"k\"\ninput = \"-\"\nrepeat = false")
                .unwrap()
                .task,
            Task::Source(Broadcast { repeat: false, .. })
        ));
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let bad = |key: &str, why: &str| {
            let line = relay(key).lines().count();
            refused(Role::Relay, &relay(key), &format!("f.toml:{line}: {why}"));
        };
        bad(
            "uplaod-limit = \"1Mbit\"",
            "uplaod-limit: no such key; did you mean upload-limit?",
        );
        bad(
            "upload_limit = \"1Mbit\"",
            "upload_limit: no such key; did you mean upload-limit?",
        );
        bad("xyzzy = 1", "xyzzy: no such key; docs/CONFIG.md lists them");
        bad(
            "config = \"x\"",
            "config: no such key; docs/CONFIG.md lists them",
        );
        bad(
            "[limits]\nquota = 1",
            "limits.quota: no such key; docs/CONFIG.md lists them",
        );
        bad(
            "bind = \"banana\"",
            "bind: \"banana\" is not an address; write ADDR:PORT, for example 0.0.0.0:8479",
        );
        bad("spare = 17", "spare: \"17\" is not a number from 0 to 16");
        bad(
            "memory = 1.5",
            "memory: write a size, for example 8MiB; texts stand in quotes",
        );
        bad(
            "memory = [\"1MiB\", \"2MiB\"]",
            "memory: takes one value, not a list",
        );
        bad(
            "disclosure = \"x\"",
            "disclosure: belongs to weir source, not weir relay",
        );
        bad(
            "role = \"source\"",
            "role: is source, which does not fit relay",
        );
        bad(
            "role = \"rleay\"",
            "role: \"rleay\" is not a role; write relay, listen or source",
        );
        bad(
            "advertise = \"0.0.0.0:1\"",
            "advertise: \"0.0.0.0:1\" cannot be dialled; write for example 192.0.2.1:8479",
        );
        bad(
            "burst = \"2h\"",
            "burst: \"2h\" is out of range; write a time from 0s to 1m",
        );
        let broken = from(Role::Relay, "a = \nb = 1").unwrap_err().to_string();
        assert!(broken.starts_with("f.toml:1: "), "{broken}");
        let doubled = from(Role::Relay, "quota = 1\nquota = 2")
            .unwrap_err()
            .to_string();
        assert!(
            doubled.contains("quota") && !doubled.contains('\n'),
            "{doubled}"
        );
    }

    #[test]
    fn a_source_needs_a_key_and_an_input_and_only_a_file_repeats() {
        let source = |toml: &str, why: &str| refused(Role::Source, toml, why);
        source("", "--key: missing; weir keygen --out stream.key makes one");
        source(
            "key = \"k\"",
            "--input: missing; write -, a file, or a URL, for example show.mp3",
        );
        source(
            "key = \"k\"\ninput = \"-\"\nrepeat = true",
            "f.toml:3: repeat: only a file can be played again, and \"-\" is none",
        );
        source(
            "key = \"k\"\ninput = \"-\"\nk = 16\nm = 17",
            "f.toml:4: m: \"17\" is not a number from 1 to 16",
        );
        source(
            "key = \"k\"\ninput = \"-\"\ncontent-type = \"audio/mpeg\\r\\nX: y\"",
            "f.toml:3: content-type: \"audio/mpeg\\r\\nX: y\" is not a media type; write for example audio/mpeg",
        );
        source(
            "key = \"k\"\ninput = \"-\"\nname = \"a\\nb\"",
            "f.toml:3: name: \"a\\nb\" has a control character; write one line of text",
        );
    }

    #[test]
    fn streams_are_counted() {
        refused(
            Role::Relay,
            "",
            "URI: missing; name the stream, for example weir://radio.example.org:8479/KEY",
        );
        refused(
            Role::Relay,
            &format!("streams = [\"{URI}\", \"{URI}\"]"),
            &format!("f.toml:1: streams: {URI} is given twice"),
        );
        refused(
            Role::Listen,
            &format!("streams = [\"{URI}\", \"{URI}\"]"),
            "f.toml:1: streams: 2 streams given; weir listen takes one, weir relay takes many",
        );
    }
}
