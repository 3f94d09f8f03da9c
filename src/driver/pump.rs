//! The task at the heart: datagrams in, timers, datagrams out, and sleep until there is more of any.

use super::engine::Engine;
use super::lines::Lines;
use super::rates::Rates;
use super::reactor::Timer;
use super::stint::Stint;
use super::udp::Sent;
use super::uplinks::Uplinks;
use crate::proto::node::Node;
use crate::proto::transmit::Transmit;
use crate::time::{Instant, Span};
use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

/// The sockets' buffers follow the streams this often.
const SIZE_AGAIN: Span = Span::from_s(1);

/// Datagrams are sent for so long before others get a turn: a burst for five hundred children takes longer.
const SENDING: Duration = Duration::from_millis(2);

/// Batches between two looks at the clock: a look costs a hundredth of one.
const LOOK: u32 = 4;

/// Moves datagrams between the socket and the node until the node has left and said so.
pub async fn run(engine: &Engine, mut udp: Uplinks, lines: &Lines, rates: &RefCell<Rates>) {
    let mut out = Outbox {
        batch: Transmit::new(),
        sent: None,
    };
    let mut timer = Alarm {
        timer: Timer::never(),
        set_for: None,
    };
    let mut sized_at = Instant::ZERO;
    loop {
        let rings = engine.work.rings();
        let (unheard, unsent) = engine.turn(|node, now| {
            let unheard = udp.receive(|from, bytes| node.handle_datagram(now, from, bytes));
            if node.poll_timeout().is_some_and(|due| due <= now) {
                node.handle_timeout(now);
            }
            if now.since(sized_at) >= SIZE_AGAIN {
                sized_at = now;
                let (rx_bps, tx_bps) = node.flow_bps();
                udp.size_for(rx_bps, tx_bps);
            }
            let unsent = out.drain(node, now, &mut udp, lines);
            let mut rates = rates.borrow_mut();
            rates.note(now, node.stats(), udp.refused());
            rates.dropped = udp.dropped();
            (unheard, unsent)
        });
        engine.count_turn();
        let blocked = out.sent.is_some();
        if engine.is_leaving() && !blocked && !unsent {
            return;
        }
        if unheard || unsent {
            smol::future::yield_now().await;
            continue;
        }
        let due = engine.look().poll_timeout();
        timer.set(engine, due.filter(|_| !blocked));
        poll_fn(|context| sleep(engine, &udp, &mut timer, rings, blocked, context)).await;
    }
}

fn sleep(
    engine: &Engine,
    udp: &Uplinks,
    timer: &mut Alarm,
    rings: u64,
    blocked: bool,
    context: &mut Context<'_>,
) -> Poll<()> {
    let awake = udp.poll_arrival(context).is_ready()
        || (blocked && udp.poll_writable(context).is_ready())
        || timer.poll(context).is_ready()
        || (!blocked && engine.work.poll_after(rings, context).is_ready());
    match awake {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }
}

/// The timer, and what it is set for: setting it costs more than looking.
struct Alarm {
    timer: Timer,
    set_for: Option<Instant>,
}

impl Alarm {
    fn set(&mut self, engine: &Engine, due: Option<Instant>) {
        if self.set_for != due {
            match due {
                Some(due) => self.timer.set_at(engine.clock.system(due)),
                None => self.timer = Timer::never(),
            }
            self.set_for = due;
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let rung = Pin::new(&mut self.timer).poll(context).map(drop);
        if rung.is_ready() {
            self.set_for = None;
        }
        rung
    }
}

/// The batch on its way out.
struct Outbox {
    batch: Transmit,
    /// Datagrams of it that are out, when the socket was full before the last.
    sent: Option<usize>,
}

impl Outbox {
    /// Sends until the node has nothing more, the socket is full, or others are to have a turn: true when there may be more.
    fn drain(
        &mut self,
        node: &mut Node<'_>,
        now: Instant,
        udp: &mut Uplinks,
        lines: &Lines,
    ) -> bool {
        let stint = Stint::of(SENDING);
        let mut batches = 0_u32;
        loop {
            let from = match self.sent.take() {
                Some(sent) => sent,
                None if node.poll_transmit(now, &mut self.batch) => 0,
                None => return false,
            };
            lines.put(node, &self.batch);
            if let Sent::Blocked(sent) = udp.send(node, &self.batch, from) {
                self.sent = Some(sent);
                return false;
            }
            batches += 1;
            if batches.is_multiple_of(LOOK) && stint.is_over() {
                return true;
            }
        }
    }
}
