//! Readiness and timers for the tasks of one thread: one epoll, no helper thread, and nothing is allocated for a wait.
//!
//! A task that tried something and would have had to wait asks for it here, and is woken when it need not wait any more.
//! [`block_on`] runs the tasks and waits when they all do.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use smol::io::{AsyncRead, AsyncWrite};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;
use std::time::Instant;
use std::vec::Vec;

/// The number by which other threads' bell is known among the sources.
const BELL: u64 = u64::MAX;

/// Events taken in one system call.
const MAX_EVENTS: usize = 64;

/// Longer waits are cut into pieces of this: a system's clock of milliseconds has 31 bits.
const LONGEST_MS: u64 = 86_400_000;

std::thread_local! {
    static REACTOR: Reactor = Reactor::new();
}

/// What the tasks of this thread wait for.
struct Reactor {
    /// An error where the system has none to give; then nothing can be waited for.
    epoll: io::Result<OwnedFd>,
    /// Places that are vacant are taken again, with the room they have: a connection that comes takes no memory.
    sources: RefCell<Vec<Rc<Source>>>,
    timers: RefCell<Vec<Armed>>,
    timers_made: Cell<u64>,
}

/// A timer that somebody waits for.
struct Armed {
    id: u64,
    at: Instant,
    waker: Waker,
}

/// Something that can be waited for: to be read, to be written.
struct Source {
    key: usize,
    is_taken: Cell<bool>,
    read: RefCell<Side>,
    write: RefCell<Side>,
}

/// One direction of a source.
#[derive(Default)]
struct Side {
    /// The system was asked to say when it is ready.
    is_asked: bool,
    /// It has said so since.
    is_ready: bool,
    waiting: Vec<Waker>,
}

impl Side {
    /// Nobody asks any more.
    fn clear(&mut self) {
        self.is_asked = false;
        self.is_ready = false;
        self.waiting.clear();
    }

    fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|other| other.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }
}

impl Source {
    fn new(key: usize) -> Self {
        Self {
            key,
            is_taken: Cell::new(false),
            read: RefCell::default(),
            write: RefCell::default(),
        }
    }

    fn came(&self, flags: EventFlags) {
        // What has gone wrong is found out by trying.
        let wrong = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let read = flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        let write = flags.contains(EventFlags::OUT);
        for (side, is_ready) in [(&self.read, read || wrong), (&self.write, write || wrong)] {
            if !is_ready {
                continue;
            }
            side.borrow_mut().is_ready = true;
            // Nothing is held while somebody is woken: with a waker more than a waker may go.
            loop {
                let waker = side.borrow_mut().waiting.pop();
                match waker {
                    Some(waker) => waker.wake(),
                    None => break,
                }
            }
        }
    }
}

impl Reactor {
    fn new() -> Self {
        Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from),
            sources: RefCell::new(Vec::new()),
            timers: RefCell::new(Vec::new()),
            timers_made: Cell::new(0),
        }
    }

    fn epoll(&self) -> io::Result<&OwnedFd> {
        let refused = |error: &io::Error| io::Error::from(error.kind());
        self.epoll.as_ref().map_err(refused)
    }

    fn register(&self, fd: BorrowedFd<'_>) -> io::Result<Rc<Source>> {
        let mut sources = self.sources.borrow_mut();
        let vacant = sources.iter().find(|source| !source.is_taken.get());
        let source = vacant.cloned().unwrap_or_else(|| {
            let source = Rc::new(Source::new(sources.len()));
            sources.push(source.clone());
            source
        });
        let data = EventData::new_u64(source.key as u64);
        epoll::add(self.epoll()?, fd, data, EventFlags::ET)?;
        source.is_taken.set(true);
        Ok(source)
    }

    /// Tells the system what is asked for now. It answers at once where something is ready already.
    fn ask(&self, fd: BorrowedFd<'_>, source: &Source) -> io::Result<()> {
        let mut flags = EventFlags::ET;
        if source.read.borrow().is_asked {
            flags |= EventFlags::IN | EventFlags::RDHUP;
        }
        if source.write.borrow().is_asked {
            flags |= EventFlags::OUT;
        }
        let data = EventData::new_u64(source.key as u64);
        Ok(epoll::modify(self.epoll()?, fd, data, flags)?)
    }

    fn forget(&self, fd: BorrowedFd<'_>, source: &Source) {
        if let Ok(epoll) = self.epoll() {
            // What cannot be taken out now is when it is closed.
            let _ = epoll::delete(epoll, fd);
        }
        source.read.borrow_mut().clear();
        source.write.borrow_mut().clear();
        source.is_taken.set(false);
    }

    /// Waits until something happens or the next timer is due, where there is nothing else to do; wakes who waited for it.
    fn turn(&self, alarm: &Alarm) -> io::Result<()> {
        let timeout = match alarm.lie_down() {
            true => self.until_timer(),
            false => Some(Timespec::default()),
        };
        let mut room = [const { core::mem::MaybeUninit::uninit() }; MAX_EVENTS];
        let waited = epoll::wait(self.epoll()?, &mut room, timeout.as_ref());
        alarm.get_up();
        let (events, _) = match waited {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            waited => waited?,
        };
        for event in events {
            let key = event.data.u64();
            let source = self.sources.borrow().get(key as usize).cloned();
            match source {
                Some(source) if source.is_taken.get() => source.came(event.flags),
                None if key == BELL => alarm.silence(),
                _ => {}
            }
        }
        self.wake_timers();
        Ok(())
    }

    fn until_timer(&self) -> Option<Timespec> {
        let timers = self.timers.borrow();
        let next = timers.iter().map(|timer| timer.at).min()?;
        let left = next.saturating_duration_since(Instant::now());
        // Whole milliseconds, upwards: old kernels know no others.
        let us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        let left = Duration::from_millis(us.div_ceil(1_000).min(LONGEST_MS));
        Timespec::try_from(left).ok()
    }

    fn wake_timers(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(waker) = self.take_due(now) {
            waker.wake();
        }
    }

    fn take_due(&self, now: Instant) -> Option<Waker> {
        let mut timers = self.timers.borrow_mut();
        let due = timers.iter().position(|timer| timer.at <= now)?;
        Some(timers.swap_remove(due).waker)
    }
}

/// Wakes the thread from its wait, also from other threads.
struct Alarm {
    is_raised: AtomicBool,
    is_asleep: AtomicBool,
    bell: OwnedFd,
}

impl Alarm {
    fn new() -> io::Result<Self> {
        Ok(Self {
            is_raised: AtomicBool::new(false),
            is_asleep: AtomicBool::new(false),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Whether nothing has happened, so that the thread may sleep.
    fn lie_down(&self) -> bool {
        self.is_asleep.store(true, SeqCst);
        !self.is_raised.load(SeqCst)
    }

    fn get_up(&self) {
        self.is_asleep.store(false, SeqCst);
    }

    fn silence(&self) {
        // Nothing to read: somebody was faster.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_raised.swap(true, SeqCst) && self.is_asleep.load(SeqCst) {
            // A bell that rings already need not ring louder.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }
}

/// Runs a future to its end, and with it all that its thread waits for.
///
/// # Errors
/// When the system has no means to wait with (file descriptors, most likely).
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let mut future = pin!(future);
    REACTOR.with(|reactor| {
        let alarm = Arc::new(Alarm::new()?);
        let bell = EventData::new_u64(BELL);
        epoll::add(reactor.epoll()?, &alarm.bell, bell, EventFlags::IN)?;
        let waker = Waker::from(alarm.clone());
        let mut context = Context::from_waker(&waker);
        loop {
            alarm.is_raised.store(false, SeqCst);
            if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                return Ok(result);
            }
            reactor.turn(&alarm)?;
        }
    })
}

/// Something with a file descriptor that this thread can wait for.
pub struct Async<T: AsFd> {
    io: T,
    source: Rc<Source>,
}

impl<T: AsFd> Async<T> {
    /// Takes it without a change: whether its calls block is as before.
    ///
    /// # Errors
    /// For what cannot be waited for, as regular files.
    pub fn new_nonblocking(io: T) -> io::Result<Self> {
        let source = REACTOR.with(|reactor| reactor.register(io.as_fd()))?;
        Ok(Self { io, source })
    }

    /// Takes it, and lets none of its calls block.
    ///
    /// # Errors
    /// As [`Async::new_nonblocking`].
    pub fn new(io: T) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&io, true)?;
        Self::new_nonblocking(io)
    }

    /// What is waited for.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Ready when it can be read since it was first asked, or has failed.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_side(&self.source.read, context)
    }

    /// Ready when it can be written since it was first asked, or has failed.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = self.poll_side(&self.source.write, context)?;
        if ready.is_ready() {
            // Or the system would tell of each datagram that has left from now on.
            REACTOR.with(|reactor| reactor.ask(self.io.as_fd(), &self.source))?;
        }
        ready.map(Ok)
    }

    fn poll_side(&self, side: &RefCell<Side>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut asked = side.borrow_mut();
        if asked.is_asked && asked.is_ready {
            asked.is_asked = false;
            return Poll::Ready(Ok(()));
        }
        asked.wait(context.waker());
        if !core::mem::replace(&mut asked.is_asked, true) {
            asked.is_ready = false;
            drop(asked);
            REACTOR.with(|reactor| reactor.ask(self.io.as_fd(), &self.source))?;
        }
        Poll::Pending
    }

    /// Ready when something has come since this was last ready. For those who read until there is nothing left before they ask: the
    /// system is told once and for all.
    pub fn poll_arrival(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut read = self.source.read.borrow_mut();
        if core::mem::take(&mut read.is_ready) {
            return Poll::Ready(Ok(()));
        }
        read.wait(context.waker());
        if !core::mem::replace(&mut read.is_asked, true) {
            drop(read);
            REACTOR.with(|reactor| reactor.ask(self.io.as_fd(), &self.source))?;
        }
        Poll::Pending
    }

    /// Waits until it can be read.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_readable(context)).await
    }

    /// Waits until it can be written.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_writable(context)).await
    }

    /// Tries until it need not wait; `poll` says what is waited for in between.
    fn poll_with<R>(
        &self,
        context: &mut Context<'_>,
        poll: impl Fn(&Self, &mut Context<'_>) -> Poll<io::Result<()>>,
        mut act: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            match act(&self.io) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                done => return Poll::Ready(done),
            }
            core::task::ready!(poll(self, context))?;
        }
    }
}

impl<T: AsFd> Drop for Async<T> {
    fn drop(&mut self) {
        // The thread may be ending, and its reactor gone before.
        let _ = REACTOR.try_with(|reactor| reactor.forget(self.io.as_fd(), &self.source));
    }
}

impl Async<TcpListener> {
    /// Listens here.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpListener::bind(address)?)
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        let accept = |listener: &TcpListener| listener.accept();
        let (stream, from) =
            poll_fn(|context| self.poll_with(context, Self::poll_readable, accept)).await?;
        Ok((Async::new(stream)?, from))
    }
}

impl Async<TcpStream> {
    /// Connects to this address.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        use socket2::{Domain, Protocol, Socket, Type};
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            done => done?,
        }
        let stream = Self::new_nonblocking(TcpStream::from(socket))?;
        stream.writable().await?;
        match stream.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }
}

impl Async<UdpSocket> {
    /// The next datagram, as much of it as there is room for.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_with(context, Self::poll_readable, |io| io.recv(buf))).await
    }
}

impl<T: AsFd> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(context, Async::poll_readable, |mut io| io.read(buf))
    }
}

impl<T: AsFd> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(context, Async::poll_writable, |mut io| io.write(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<T: AsFd> AsyncRead for Async<T>
where
    for<'a> &'a T: Read,
    Self: Unpin,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(context, buf)
    }
}

impl<T: AsFd> AsyncWrite for Async<T>
where
    for<'a> &'a T: Write,
    Self: Unpin,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(context, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(context)
    }
}

/// Ready at a moment, or never.
pub struct Timer {
    at: Option<Instant>,
    /// What it is known by while somebody waits for it.
    id: Option<u64>,
}

impl Timer {
    /// After so long.
    pub fn after(span: Duration) -> Self {
        Self {
            at: Instant::now().checked_add(span),
            id: None,
        }
    }

    /// Not before it is set.
    pub const fn never() -> Self {
        Self { at: None, id: None }
    }

    /// At this moment instead.
    pub fn set_at(&mut self, at: Instant) {
        self.disarm();
        self.at = Some(at);
    }

    fn disarm(&mut self) {
        if let Some(id) = self.id.take() {
            let forget = |reactor: &Reactor| reactor.timers.borrow_mut().retain(|t| t.id != id);
            // The thread may be ending, and its reactor gone before.
            let _ = REACTOR.try_with(forget);
        }
    }

    fn arm(&mut self, at: Instant, waker: &Waker) {
        REACTOR.with(|reactor| {
            let mut timers = reactor.timers.borrow_mut();
            if let Some(armed) = timers.iter_mut().find(|armed| Some(armed.id) == self.id) {
                armed.waker.clone_from(waker);
                return;
            }
            let id = reactor.timers_made.get() + 1;
            reactor.timers_made.set(id);
            self.id = Some(id);
            timers.push(Armed {
                id,
                at,
                waker: waker.clone(),
            });
        });
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.at {
            Some(at) if at <= Instant::now() => {
                self.disarm();
                Poll::Ready(())
            }
            Some(at) => {
                self.arm(at, context.waker());
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::bell::Bell;
    use crate::driver::tasks::Tasks;
    use smol::future::{FutureExt, yield_now};
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    use std::os::unix::net::UnixStream;
    use std::{format, thread, vec};

    const LONG: Duration = Duration::from_secs(20);

    async fn late<T>() -> T {
        Timer::after(LONG).await;
        panic!("still waiting")
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        block_on(future.or(late())).unwrap()
    }

    #[test]
    fn timers_are_due_in_their_order_and_can_be_set_again() {
        run(async {
            let begin = Instant::now();
            let mut timer = Timer::never();
            timer.set_at(begin + LONG * 2);
            let early = async {
                Timer::after(Duration::from_millis(30)).await;
                "early"
            };
            let later = async {
                (&mut timer).await;
                "later"
            };
            assert_eq!(later.or(early).await, "early");
            assert!(begin.elapsed() >= Duration::from_millis(30));
            timer.set_at(Instant::now());
            timer.await;
        });
        REACTOR.with(|reactor| assert!(reactor.timers.borrow().is_empty()));
    }

    #[test]
    fn bytes_go_through_a_slow_reader() {
        let (near, far) = UnixStream::pair().unwrap();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
        let expected = sent.clone();
        let (near, far) = (Async::new(near).unwrap(), Async::new(far).unwrap());
        run(async {
            let write = async {
                (&near).write_all(&sent).await.unwrap();
                drop(near);
                core::future::pending().await
            };
            let read = async {
                let mut heard: Vec<u8> = vec![];
                let mut buf = [0; 777];
                loop {
                    match (&far).read(&mut buf).await.unwrap() {
                        0 => return heard,
                        n => heard.extend(&buf[..n]),
                    }
                    yield_now().await;
                }
            };
            assert!(read.or(write).await == expected);
        });
        REACTOR.with(|reactor| assert!(!reactor.sources.borrow()[0].is_taken.get()));
    }

    #[test]
    fn what_can_be_read_stays_readable_until_it_is_read() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = Async::new(near).unwrap();
        far.write_all(b"abc").unwrap();
        run(async {
            for byte in b"abc" {
                near.readable().await.unwrap();
                let mut one = [0];
                near.get_ref().read_exact(&mut one).unwrap();
                assert_eq!(one, [*byte]);
            }
            let more = async {
                near.readable().await.unwrap();
                true
            };
            let none = async {
                Timer::after(Duration::from_millis(20)).await;
                false
            };
            assert!(!more.or(none).await, "nothing was left");
        });
    }

    #[test]
    fn arrivals_are_told_once_each() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = udp.local_addr().unwrap();
        let udp = Async::new(udp).unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        run(async {
            for round in 0..100_u8 {
                for _ in 0..3 {
                    other.send_to(&[round], to).unwrap();
                }
                let mut heard = 0;
                while heard < 3 {
                    poll_fn(|context| udp.poll_arrival(context)).await.unwrap();
                    while let Ok(1) = udp.get_ref().recv(&mut [0; 8]) {
                        heard += 1;
                    }
                }
            }
        });
    }

    #[test]
    fn each_of_many_connections_is_accepted() {
        let listener = Async::<TcpListener>::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = listener.get_ref().local_addr().unwrap();
        let callers = thread::spawn(move || {
            let all: Vec<_> = (0..12).map(|_| TcpStream::connect(at).unwrap()).collect();
            all.into_iter().for_each(|mut stream| {
                assert_eq!(stream.read(&mut [0; 8]).unwrap(), 2);
            });
        });
        let accepted = Bell::new(1);
        let mut tasks = Tasks::default();
        for _ in 0..4 {
            tasks.add(async {
                for _ in 0..3 {
                    let (stream, _) = listener.accept().await.unwrap();
                    (&stream).write_all(b"hi").await.unwrap();
                    accepted.ring();
                }
            });
        }
        run(tasks.run(async {
            while accepted.rings() < 12 {
                accepted.after(accepted.rings()).await;
            }
        }));
        callers.join().unwrap();
    }

    #[test]
    fn a_connection_that_nobody_takes_fails() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let stream = run(Async::<TcpStream>::connect(at)).unwrap();
        assert_eq!(stream.get_ref().peer_addr().unwrap(), at);
        drop(taken);
        assert!(run(Async::<TcpStream>::connect(at)).is_err());
    }

    #[test]
    fn another_thread_wakes_this_one() {
        let begin = Instant::now();
        let answer = run(blocking());
        assert_eq!(answer, format!("{}", 42));
        assert!(begin.elapsed() < LONG);
    }

    async fn blocking() -> std::string::String {
        smol::unblock(|| {
            thread::sleep(Duration::from_millis(50));
            format!("{}", 42)
        })
        .await
    }

    #[test]
    fn a_regular_file_cannot_be_waited_for() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(Async::new_nonblocking(file).is_err());
    }
}
