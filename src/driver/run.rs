//! A node from its start to its end: one thread, every task spawned at the beginning and none later.

use super::bell::Bell;
use super::config::{Config, Role, Task};
use super::config_source::ConfigSource;
use super::control::Control;
use super::engine::{Clock, Engine};
use super::failure::Failure;
use super::in_step;
use super::lines::Lines;
use super::quota::{self, Quota};
use super::rates::Rates;
use super::reactor::Async;
use super::server::{self, Server};
use super::sheet::{self, Sheet};
use super::signals::{self, Signals};
use super::source::Origin;
use super::stream_uri::{HostPort, StreamUri};
use super::tasks::Tasks;
use super::udp;
use super::uplinks::Uplinks;
use super::view::{Facts, Names, Running};
use super::within::within;
use super::{
    base32, hls, launch, lonely, manager, mdns, output, pump, reactor, reload, resolve, state_lock,
    stdout, tick,
};
use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use std::boxed::Box;
use std::os::unix::net::UnixStream;
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
    let signals = Signals::new()?;
    // Without a file there is nothing to read again, and the signal means what it means to every program.
    let hangups = source.has_file().then(signals::hangups).transpose()?;
    let state = config.state.as_deref().map(state_lock::take);
    let _ours = state.transpose()?;
    let origin = Origin::prepare(config)?;
    House::open(config, origin)?.live(config, source, signals, hangups)
}

/// Everything a node needs before its tasks begin.
struct House {
    running: Running,
    udp: Uplinks,
    server: Server,
    origin: Option<Origin>,
}

impl House {
    /// Takes all memory and all ports. What it makes is on the heap, and this function apart: code whose frame is full of
    /// tables has to compute where each of its words is.
    #[inline(never)]
    fn open(config: &Config, mut origin: Option<Origin>) -> Result<Box<Self>, Failure> {
        let clock = Clock::start();
        let token = config.web.token()?;
        let streams = launch::streams(config, origin.as_ref().map(Origin::key));
        let mut node = launch::node(config, clock.now(), &streams)?;
        if let Some(origin) = origin.as_mut() {
            origin.give_to(&mut node, clock);
        }
        let udp = Uplinks::bind(&config.bind, config.offload)?;
        let tasks = launch::http_tasks(config.max_players);
        let server = Server::bind(config.http, tasks, &config.web)?;
        // After what may fail: a start that comes to nothing leases nothing.
        let mut quota = Quota::open(config);
        let reached_at = udp::reachable_at(udp.local());
        let at = config.advertise.unwrap_or(reached_at);
        let names = streams.iter().map(|(key, _)| names(key, at)).collect();
        quota::begin(quota.as_mut(), &mut node, clock.now());
        let running = Running {
            // Besides the players, standard output waits for media, and who writes to those in step.
            engine: Engine::new(node, clock, tasks + 2),
            facts: facts(config, names, reached_at, server.local()),
            vitals: RefCell::default(),
            control: Control::new(config.forwarding_limit_bps(), token.as_deref()),
            rates: RefCell::new(Rates::default()),
            quota: RefCell::new(quota),
            seats: RefCell::new((0..=config.max_players).map(|_| None).collect()),
            sheet: RefCell::new(Sheet::new(sheet::room_bytes(config.max_players))),
            lines: Lines::new(&config.serial),
            hls: RefCell::new(vec![hls::Memory::default(); streams.len()]),
            network_hint: Bell::new(1),
        };
        Ok(Box::new(Self {
            running,
            udp,
            server,
            origin,
        }))
    }

    /// Lives in it until the node is stopped or its work is done.
    fn live(
        self: Box<Self>,
        config: &Config,
        source: &ConfigSource,
        signals: Signals,
        hangups: Option<Async<UnixStream>>,
    ) -> Result<(), Failure> {
        let (udp, origin) = (self.udp, self.origin);
        let (running, server) = (&self.running, &self.server);
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
        let said_goodbye = Bell::new(1);
        // What the tasks borrow stands above; they go first.
        let mut tasks = Tasks::default();
        tasks.add(async {
            pump::run(&running.engine, udp, &running.lines, &running.rates).await;
            said_goodbye.ring();
        });
        tasks.add(signals.wait(&ending));
        if let Some(hangups) = hangups {
            tasks.add(reload::attend(hangups, running, config, source));
        }
        tasks.add(manager::keep_informed(running));
        tasks.add(lonely::watch(running, &places));
        tasks.add(resolve::run(running, wanted, locals));
        tasks.add(hls::tend(running));
        tasks.add(quota::keep(running));
        tasks.add(tick::run(running));
        tasks.add(in_step::serve(running));
        if let Some(responder) = &responder {
            tasks.add(responder.run(running));
        }
        tasks.add(server.usher(running));
        for _ in 0..launch::http_tasks(config.max_players) {
            let task = server.attend(running);
            debug_assert!(
                size_of_val(&task) <= server::TASK_BYTES,
                "{}",
                size_of_val(&task)
            );
            tasks.add(task);
        }
        #[cfg(feature = "serial")]
        for (place, _) in running.lines.iter() {
            tasks.add(super::serial::attend(running, place));
        }
        if let Some(origin) = origin {
            tasks.add(origin.run(running, &ending));
        }
        if let Task::Listen(_) = config.task {
            tasks.add(stdout::run(running, &ending));
        }
        manager::ready();
        let outcome = reactor::block_on(tasks.run(async {
            let outcome = ending.wait().await;
            running.engine.leave();
            if let Some(responder) = &responder {
                responder.say_goodbye(running);
            }
            // Late or not, the program ends now; what was not said is found out by the others.
            let said = async {
                said_goodbye.after(0).await;
                io::Result::Ok(())
            };
            let _ = within(GOODBYE, said).await;
            let remembered = async {
                quota::close(running).await;
                Ok(())
            };
            let _ = within(LAST_WRITE, remembered).await;
            outcome
        }));
        outcome.map_err(|error| Failure::runtime("waiting", error))?
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
