//! The board: clock, lines, and a loop around [`listener::Listener`]. Built for `thumbv7em-none-eabihf`, it runs on qemu's
//! mps2-an386; for another chip this file and `uart.rs` change, and `memory.x`.

#![no_std]
#![no_main]

mod listener;
mod uart;

use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::NVIC;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use listener::{Listener, Memory, RAM_BYTES, Told};
use static_cell::{ConstStaticCell, StaticCell};
use uart::Line;
use weir::proto::node::Node;
use weir::time::{Instant, Span};

const BAUD: u32 = 115_200;

/// The stream this board plays: base32, as in its URI. Set it when building: `WEIR_STREAM=... cargo build`.
const STREAM: &str = match option_env!("WEIR_STREAM") {
    Some(key) => key,
    None => "nobodyssnobodyssnobodyssnobodyssnobodyssnobodyssnobo",
};

static MEMORY: ConstStaticCell<Memory<'static>> = ConstStaticCell::new(Memory::new());
static LISTENER: StaticCell<Listener<'static, Line>> = StaticCell::new();

/// RAM of everything but the stack, to be read from the ELF file as well: the listener, and the queue of the line.
#[used]
#[unsafe(no_mangle)]
static WEIR_RAM_BYTES: usize = RAM_BYTES + uart::QUEUE_BYTES;

/// Leaves 40 KiB of 128 for the stack and whatever else the board does.
const _: () = assert!(RAM_BYTES + uart::QUEUE_BYTES <= 88 * 1_024);

static MILLISECONDS: AtomicU32 = AtomicU32::new(0);

fn now() -> Instant {
    let ms = MILLISECONDS.load(Ordering::Relaxed);
    Instant::ZERO + Span::from_s(60) + Span::from_ms(u64::from(ms))
}

#[entry]
fn main() -> ! {
    let Some(mut core) = cortex_m::Peripherals::take() else {
        park()
    };
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(uart::CLOCK_HZ / 1_000 - 1);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
    // SAFETY: the handler takes bytes into a queue of its own and nothing else.
    unsafe { NVIC::unmask(uart::Uart0Rx) };
    let Some(stream) = weir::wire::uri::decode_key(STREAM) else {
        park()
    };
    let Some(listener) = start(stream) else {
        park()
    };
    let mut report_at = now();
    loop {
        match listener.turn(now(), uart::play) {
            Ok(()) => cortex_m::asm::wfi(),
            Err(never) => match never {},
        }
        if now() >= report_at {
            report_at += Span::from_s(5);
            report(listener.node());
        }
    }
}

/// Makes the listener where it stays. A function of its own: what the making leaves on the stack goes with it.
#[inline(never)]
fn start(stream: [u8; 32]) -> Option<&'static mut Listener<'static, Line>> {
    let told = Told {
        secret: seed(1),
        entropy: seed(2),
        baud: BAUD,
    };
    let (pools, stream_pools) = MEMORY.take().lend();
    let listener = LISTENER.init_with(|| Listener::new(pools, Line::open(BAUD), &told, now()));
    listener
        .listen(now(), stream, stream_pools)
        .then_some(listener)
}

/// How it goes, in one line for people.
fn report(node: &Node<'_>) {
    let Some(stream) = node.streams().first() else {
        return;
    };
    let stats = &stream.stats;
    // The console takes everything.
    let _ = writeln!(
        uart::Console,
        "played {} bytes, {} gaps, {} chunks repaired, {} invalid; {} datagrams in, {} out, {} malformed; RAM {} bytes, stack {} at most",
        stats.played_bytes,
        stats.gaps,
        stats.repaired,
        stats.invalid,
        node.stats().rx_datagrams,
        node.stats().tx_datagrams,
        node.stats().malformed,
        WEIR_RAM_BYTES,
        deepest_stack_bytes(),
    );
}

/// How deep the stack has been: cortex-m-rt paints it at start, and what was used is painted no more.
fn deepest_stack_bytes() -> usize {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let (top, mut at) = (&raw const _stack_start, &raw const _stack_end);
    let bottom = at;
    // SAFETY: between the two symbols of the linker lies the stack's memory, whole words of it, and it may be read.
    while at < top && unsafe { at.read_volatile() } == cortex_m_rt::STACK_PAINT_VALUE {
        at = at.wrapping_add(1);
    }
    top as usize - bottom as usize - (at as usize - bottom as usize)
}

/// Secrets. THIS BOARD HAS NO RANDOM NUMBERS: a real one asks its generator here. What is at stake is who can speak for
/// this board in its sessions; that every byte played is the broadcaster's does not depend on it.
fn seed(purpose: u8) -> [u8; 32] {
    let mut seed = [purpose; 32];
    for (place, byte) in seed.iter_mut().zip(STREAM.bytes()) {
        *place ^= byte;
    }
    seed
}

/// Nothing can be done.
fn park() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

#[exception]
fn SysTick() {
    MILLISECONDS.store(
        MILLISECONDS.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

// SAFETY: called by the hardware only; numbers below zero are faults of the processor.
#[exception]
unsafe fn DefaultHandler(interrupt: i16) {
    match interrupt {
        0 => uart::on_receive(),
        _ => park(),
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    park()
}
