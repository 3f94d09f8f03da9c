//! The UARTs of the board (Arm CMSDK APB UART, DDI 0479D section 4.3), as `embedded_io` wants them. Bytes that come are
//! taken by the interrupt into a queue: at 115,200 baud one comes every 87 microseconds, and a signature takes longer.

use core::cell::RefCell;
use core::convert::Infallible;
use core::ptr::{read_volatile, write_volatile};
use cortex_m::interrupt::{InterruptNumber, Mutex};
use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use heapless::Deque;

const UART0: usize = 0x4000_4000;
const UART1: usize = 0x4000_5000;
const UART2: usize = 0x4000_6000;

const DATA: usize = 0x00;
const STATE: usize = 0x04;
const CONTROL: usize = 0x08;
const INTERRUPT: usize = 0x0c;
const BAUD_DIVIDER: usize = 0x10;

const TX_FULL: u32 = 1;
const RX_FULL: u32 = 2;
const TX_ENABLE: u32 = 1;
const RX_ENABLE: u32 = 2;
const RX_INTERRUPT: u32 = 8;

/// The board's clock.
pub const CLOCK_HZ: u32 = 25_000_000;

/// Bytes that may wait to be read: 180 ms of the line, several times what verifying a seal takes.
pub const QUEUE_BYTES: usize = 2_048;

static RECEIVED: Mutex<RefCell<Deque<u8, QUEUE_BYTES>>> = Mutex::new(RefCell::new(Deque::new()));

/// UART 0 receives.
#[derive(Clone, Copy)]
pub struct Uart0Rx;

// SAFETY: number 0 is UART 0's receive interrupt on this board (Arm DAI 0386D, table 3-8), and it is always the same.
unsafe impl InterruptNumber for Uart0Rx {
    fn number(self) -> u16 {
        0
    }
}

fn read(uart: usize, register: usize) -> u32 {
    // SAFETY: `uart` is one of the three addresses above, where this board has a UART with these registers.
    unsafe { read_volatile((uart + register) as *const u32) }
}

fn write(uart: usize, register: usize, value: u32) {
    // SAFETY: as above; none of these registers reaches memory.
    unsafe { write_volatile((uart + register) as *mut u32, value) }
}

/// Takes what has come. To be called by the receive interrupt.
pub fn on_receive() {
    // First: a byte that comes while the others are taken raises it again.
    write(UART0, INTERRUPT, RX_FULL);
    while read(UART0, STATE) & RX_FULL != 0 {
        let byte = read(UART0, DATA) as u8;
        cortex_m::interrupt::free(|lock| {
            // When nobody reads, bytes are lost, as on any line.
            let _ = RECEIVED.borrow(lock).borrow_mut().push_back(byte);
        });
    }
}

/// UART 0: the serial line.
pub struct Line(());

impl Line {
    /// Sets the line up.
    pub fn open(baud: u32) -> Self {
        write(UART0, BAUD_DIVIDER, CLOCK_HZ / baud);
        write(UART0, CONTROL, TX_ENABLE | RX_ENABLE | RX_INTERRUPT);
        Self(())
    }
}

impl ErrorType for Line {
    type Error = Infallible;
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(cortex_m::interrupt::free(|lock| {
            !RECEIVED.borrow(lock).borrow().is_empty()
        }))
    }
}

impl Read for Line {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let mut len = 0;
        for place in out {
            let next =
                cortex_m::interrupt::free(|lock| RECEIVED.borrow(lock).borrow_mut().pop_front());
            let Some(byte) = next else { break };
            *place = byte;
            len += 1;
        }
        Ok(len)
    }
}

impl WriteReady for Line {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(read(UART0, STATE) & TX_FULL == 0)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        if let Some(byte) = bytes.first() {
            write(UART0, DATA, u32::from(*byte));
        }
        Ok(bytes.len().min(1))
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while read(UART0, STATE) & TX_FULL != 0 {}
        Ok(())
    }
}

/// UART 1 stands for the decoder: media go there.
pub fn play(media: &[u8]) {
    send(UART1, media);
}

/// UART 2 is for people.
pub struct Console;

impl core::fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        send(UART2, text.as_bytes());
        Ok(())
    }
}

fn send(uart: usize, bytes: &[u8]) {
    write(uart, BAUD_DIVIDER, 16);
    write(uart, CONTROL, TX_ENABLE);
    for byte in bytes {
        while read(uart, STATE) & TX_FULL != 0 {}
        write(uart, DATA, u32::from(*byte));
    }
}
