//! A node from its start to its end: one thread, every task spawned at the beginning and none later.

use super::bell::Bell;
use super::config::{Config, Role, Task};
use super::config_source::ConfigSource;
use super::control::Control;
use super::engine::{Clock, Engine};
use super::failure::Failure;
use super::lines::Lines;
use super::quota::{self, Quota};
use super::rates::Rates;
use super::server::{self, Server};
use super::source::Origin;
use super::stream_uri::{HostPort, StreamUri};
use super::udp;
use super::uplinks::Uplinks;
use super::view::{Facts, Names, Running};
use super::within::within;
use super::{
    base32, hls, launch, lonely, manager, mdns, output, pump, reactor, reload, resolve, signals,
    stdout, tick,
};
use core::cell::RefCell;
use core::net::SocketAddr;
use core::pin::Pin;
use core::time::Duration;
use smol::LocalExecutor;
use std::boxed::Box;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, io, vec};

/// Goodbyes have to be out by then.
const GOODBYE: Duration = Duration::from_millis(800);

/// The quota has to be written by then; if it is not, the lease counts as used.
const LAST_WRITE: Duration = Duration::from_millis(150);

/// How the node ended, and the bell for it.
pub struct Ending {
    outcome: RefCell<Option<Result<(), Failure>>>,
    bell: Bell,
}

impl Ending {
    /// Ends the node; the first word counts.
    pub fn end(&self, outcome: Result<(), Failure>) {
        self.outcome.borrow_mut().get_or_insert(outcome);
        self.bell.ring();
    }

    async fn wait(&self) -> Result<(), Failure> {
        loop {
            let rings = self.bell.rings();
            if let Some(outcome) = self.outcome.borrow().clone() {
                return outcome;
            }
            self.bell.after(rings).await;
        }
    }
}

/// Runs a node until it is stopped or its work is done.
pub fn run(config: &Config, source: &ConfigSource) -> Result<(), Failure> {
    #[cfg(feature = "demo")]
    super::orphan::end_with_parent();
    let signals = signals::Signals::new()?;
    // Without a file there is nothing to read again, and the signal means what it means to every program.
    let hangups = source.has_file().then(signals::hangups).transpose()?;
    let origin = Origin::prepare(config)?;
    let House {
        running,
        udp,
        server,
        origin,
    } = House::open(config, origin)?;
    let ending = Ending {
        outcome: RefCell::new(None),
        bell: Bell::new(2),
    };
    let (local, locals) = (udp.local(), udp.locals());
    let http = server.local();
    log::info!("udp {local}, page and players at http://{http}/");
    if origin.is_some() {
        // The first line on stdout; scripts wait for it.
        let uri = running.facts.names.first().map_or("", |names| &names.uri);
        output::print(&format!("{uri}\n"))?;
    }

    let responder = mdns::Responder::new(config, local, http);
    let wanted = resolve::wanted(config);
    let places = wanted.clone();
    // What the tasks borrow stands above; the executor goes first.
    let executor = LocalExecutor::new();
    let pump = spawn(
        &executor,
        pump::run(&running.engine, udp, &running.lines, &running.rates),
    );
    spawn(&executor, signals.wait(&ending)).detach();
    if let Some(hangups) = hangups {
        spawn(&executor, reload::attend(hangups, &running, config, source)).detach();
    }
    spawn(&executor, manager::keep_informed(&running)).detach();
    spawn(&executor, lonely::watch(&running, &places)).detach();
    spawn(&executor, resolve::run(&running, wanted, locals)).detach();
    spawn(&executor, hls::tend(&running)).detach();
    spawn(&executor, quota::keep(&running)).detach();
    spawn(&executor, tick::run(&running)).detach();
    if let Some(responder) = &responder {
        spawn(&executor, responder.run(&running)).detach();
    }
    spawn(&executor, server.usher(&running)).detach();
    for _ in 0..launch::http_tasks(config) {
        let task = server.attend(&running);
        debug_assert!(
            size_of_val(&task) <= server::TASK_BYTES,
            "{}",
            size_of_val(&task)
        );
        spawn(&executor, task).detach();
    }
    #[cfg(feature = "serial")]
    for (place, _) in running.lines.iter() {
        spawn(&executor, super::serial::attend(&running, place)).detach();
    }
    if let Some(origin) = origin {
        spawn(&executor, origin.run(&running, &ending)).detach();
    }
    if let Task::Listen(_) = config.task {
        spawn(&executor, stdout::run(&running, &ending)).detach();
    }
    manager::ready();
    let outcome = reactor::block_on(executor.run(async {
        let outcome = ending.wait().await;
        running.engine.leave();
        if let Some(responder) = &responder {
            responder.say_goodbye(&running);
        }
        // Late or not, the program ends now; what was not said is found out by the others.
        let said = async {
            pump.await;
            io::Result::Ok(())
        };
        let _ = within(GOODBYE, said).await;
        let remembered = async {
            quota::close(&running).await;
            Ok(())
        };
        let _ = within(LAST_WRITE, remembered).await;
        outcome
    }));
    outcome.map_err(|error| Failure::runtime("waiting", error))?
}

/// A task on the heap: to the executor all are of one type, and its code is there once and not once for each of them.
fn spawn<'a>(executor: &LocalExecutor<'a>, task: impl Future<Output = ()> + 'a) -> smol::Task<()> {
    let task: Pin<Box<dyn Future<Output = ()> + 'a>> = Box::pin(task);
    executor.spawn(task)
}

/// Everything a node needs before its tasks begin.
struct House {
    running: Running,
    udp: Uplinks,
    server: Server,
    origin: Option<Origin>,
}

impl House {
    /// Takes all memory and all ports.
    fn open(config: &Config, mut origin: Option<Origin>) -> Result<Self, Failure> {
        let clock = Clock::start();
        let token = config.web.token()?;
        let streams = launch::streams(config, origin.as_ref().map(Origin::key));
        let mut node = launch::node(config, clock.now(), &streams)?;
        let mut quota = Quota::open(config);
        if let Some(origin) = origin.as_mut() {
            origin.give_to(&mut node, clock);
        }
        let udp = Uplinks::bind(&config.bind, config.offload)?;
        let tasks = launch::http_tasks(config);
        let server = Server::bind(config.http, tasks, &config.web)?;
        let reached_at = udp::reachable_at(udp.local());
        let at = config.advertise.unwrap_or(reached_at);
        let names = streams.iter().map(|(key, _)| names(key, at)).collect();
        quota::begin(quota.as_mut(), &mut node, clock.now());
        let running = Running {
            // Besides the players, standard output waits for media.
            engine: Engine::new(node, clock, tasks + 1),
            facts: facts(config, names, reached_at, server.local()),
            vitals: RefCell::default(),
            control: Control::new(config.forwarding_limit_bps(), token.as_deref()),
            rates: RefCell::new(Rates::default()),
            quota: RefCell::new(quota),
            seats: RefCell::new(vec![None; usize::from(config.max_players) + 1]),
            lines: Lines::new(&config.serial),
            hls: RefCell::new(vec![hls::Memory::default(); streams.len()]),
            network_hint: Bell::new(1),
        };
        Ok(Self {
            running,
            udp,
            server,
            origin,
        })
    }
}

fn names(key: &[u8; 32], at: SocketAddr) -> Names {
    let uri = StreamUri {
        hosts: [HostPort {
            host: at.ip().to_string(),
            port: at.port(),
        }]
        .into(),
        key: *key,
    };
    Names {
        key: base32::encode(key),
        uri: uri.to_string(),
    }
}

fn facts(config: &Config, names: Vec<Names>, udp: SocketAddr, http: SocketAddr) -> Facts {
    Facts {
        role: match config.role() {
            Role::Source => "source",
            Role::Relay => "relay",
            Role::Listen => "listener",
        },
        udp,
        http,
        budget_bytes: config.memory_bytes,
        planned_bytes: launch::plan(config).total_bytes(),
        plan: match config.serial.is_empty() {
            true => String::new(),
            false => launch::plan(config).to_string(),
        },
        quota_bytes: config.quota_bytes,
        planned_children: config.max_children,
        names,
    }
}
