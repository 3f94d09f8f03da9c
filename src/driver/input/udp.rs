//! Datagrams, to one host or to a multicast group: MPEG-TS as it is or inside RTP, or anything else.

use super::super::reactor::{Async, Timer};
use super::feed::Feed;
use super::url::UdpAddress;
use super::{InputError, MAX_READ_BYTES, Sink, rtp};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use smol::future::{FutureExt, yield_now};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io;
use std::net::UdpSocket;
use std::time::Instant;
use std::vec;

/// Silence for so long is said; the stream goes on when it ends.
const SILENCE: Duration = Duration::from_secs(2);

/// After silence for so long, what comes is a new beginning.
const NEW_BEGINNING: Duration = Duration::from_secs(10);

/// Room for bursts in the system's socket buffer, as far as the system grants it.
const SOCKET_BUFFER_BYTES: usize = 1024 * 1024;

/// Datagrams taken before others have their turn.
const BATCH: usize = 16;

/// Takes datagrams for ever.
pub async fn run<S: Sink>(address: &UdpAddress, sink: &S) -> Result<(), InputError> {
    let socket = Async::new_nonblocking(bind(address)?)
        .map_err(InputError::io("cannot receive on", address))?;
    let feed = Feed::new(sink);
    feed.waiting("no datagrams yet");
    let mut buf = vec![0; MAX_READ_BYTES];
    let mut heard = Instant::now();
    loop {
        let received = async { socket.recv(&mut buf).await.map(Some) };
        let silence = async {
            Timer::after(SILENCE).await;
            Ok(None)
        };
        match received.or(silence).await {
            Ok(Some(bytes)) => {
                if heard.elapsed() > NEW_BEGINNING {
                    feed.begin();
                }
                heard = Instant::now();
                take(&feed, &buf, bytes);
                // What else is there already.
                for _ in 1..BATCH {
                    let Ok(bytes) = socket.get_ref().recv(&mut buf) else {
                        break;
                    };
                    take(&feed, &buf, bytes);
                }
                yield_now().await;
            }
            Ok(None) => feed.waiting("no datagrams"),
            // An ICMP error of somebody's; the socket is as good as before.
            Err(e) => {
                log::debug!("{address}: {e}");
                Timer::after(Duration::from_millis(10)).await;
            }
        }
    }
}

fn take<S: Sink>(feed: &Feed<'_, S>, buf: &[u8], bytes: usize) {
    match buf.get(..bytes) {
        // A full buffer is a datagram that was cut.
        Some(datagram) if bytes < buf.len() => feed.media(rtp::payload(datagram)),
        _ => log::debug!(
            "a datagram of more than {} bytes was dropped",
            buf.len() - 1
        ),
    }
}

fn bind(address: &UdpAddress) -> Result<UdpSocket, InputError> {
    let cannot = |what| InputError::io(what, address);
    let socket = Socket::new(
        Domain::for_address(address.address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )
    .map_err(cannot("cannot receive on"))?;
    let group = address.address.ip().is_multicast();
    if group {
        // Several programs may take the same group. An address of ours is for one: the second shall see that it is taken.
        socket
            .set_reuse_address(true)
            .map_err(cannot("cannot receive on"))?;
    }
    socket
        .set_nonblocking(true)
        .map_err(cannot("cannot receive on"))?;
    if let Err(e) = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES) {
        log::debug!("{address}: socket buffer: {e}");
    }
    let mut at = address.address;
    if let (SocketAddr::V6(v6), Some(interface)) = (&mut at, &address.interface) {
        v6.set_scope_id(index(&socket, interface)?);
    }
    socket
        .bind(&at.into())
        .map_err(cannot("cannot receive on"))?;
    if group {
        join(&socket, address)?;
    }
    Ok(socket.into())
}

/// Joins the group, on the interface given or on the one the system chooses.
fn join(socket: &Socket, address: &UdpAddress) -> Result<(), InputError> {
    let joined = match address.address.ip() {
        IpAddr::V4(group) => socket.join_multicast_v4_n(&group, &v4_interface(socket, address)?),
        IpAddr::V6(group) => match &address.interface {
            Some(name) => socket.join_multicast_v6(&group, index(socket, name)?),
            None => socket.join_multicast_v6(&group, 0),
        },
    };
    joined.map_err(InputError::io(
        match address.interface {
            Some(_) => "cannot join the group of",
            None => "cannot join the group without an interface after it, such as %eth0:",
        },
        address,
    ))
}

fn v4_interface(
    socket: &Socket,
    address: &UdpAddress,
) -> Result<InterfaceIndexOrAddress, InputError> {
    let Some(name) = &address.interface else {
        return Ok(InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED));
    };
    match name.parse() {
        Ok(own) => Ok(InterfaceIndexOrAddress::Address(own)),
        Err(_) => index(socket, name).map(InterfaceIndexOrAddress::Index),
    }
}

/// The index of an interface, by its name or written out.
fn index(socket: &Socket, interface: &str) -> Result<u32, InputError> {
    if let Ok(index) = interface.parse() {
        return Ok(index);
    }
    let found: io::Result<u32> =
        rustix::net::netdevice::name_to_index(socket, interface).map_err(io::Error::from);
    found.map_err(|_| InputError::NoInterface {
        interface: interface.into(),
    })
}
