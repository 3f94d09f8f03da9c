//! The board: clock, lines, and a loop around [`listener::Listener`]. Built for `thumbv7em-none-eabihf`, it runs on qemu's
//! mps2-an386; for another chip this file and `uart.rs` change, and `memory.x`.

#![no_std]
#![no_main]

mod listener;
mod uart;

use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::NVIC;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use listener::{Listener, Memory, RAM_BYTES, Told};
use static_cell::{ConstStaticCell, StaticCell};
use uart::Line;
use weir::time::{Instant, Span};

const BAUD: u32 = 115_200;

/// The stream this board plays: base32, as in its URI. Set it when building: `WEIR_STREAM=... cargo build`.
const STREAM: &str = match option_env!("WEIR_STREAM") {
    Some(key) => key,
    None => "nobodyssnobodyssnobodyssnobodyssnobodyssnobodyssnobo",
};

static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
static LISTENER: StaticCell<Listener<'static, Line>> = StaticCell::new();

/// RAM of everything but the stack, to be read from the ELF file as well: the listener, and the queue of the line.
#[used]
#[unsafe(no_mangle)]
static WEIR_RAM_BYTES: usize = RAM_BYTES + uart::QUEUE_BYTES;

/// Leaves 64 KiB of 192 for the stack and whatever else the board does.
const _: () = assert!(RAM_BYTES + uart::QUEUE_BYTES <= 128 * 1_024);

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
    let told = Told {
        stream,
        secret: seed(1),
        entropy: seed(2),
        baud: BAUD,
    };
    let line = Line::open(BAUD);
    let Some(listener) = Listener::new(MEMORY.take(), line, &told, now()) else {
        park()
    };
    let listener = LISTENER.init(listener);
    loop {
        match listener.turn(now(), uart::play) {
            Ok(()) => cortex_m::asm::wfi(),
            Err(never) => match never {},
        }
    }
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
