//! The way through a node's tables that the JSON, the text and the page have in common, in pieces small enough to fit a part.

use crate::http::out::Out;
use crate::http::status::{
    DayStatus, NetworkStatus, PeerStatus, PlayerStatus, StatusSource, StreamStatus, StripeStatus,
};

/// A stream is shown in so many pieces, so that its longest texts do not meet in one part.
pub(crate) const STREAM_PIECES: u8 = 3;

/// Where the next piece is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Head,
    Stream { i: usize, first: bool },
    StreamPiece { i: usize, piece: u8 },
    Stripe { i: usize, j: usize, first: bool },
    Peer { i: usize, first: bool },
    Player { i: usize, first: bool },
    Network { i: usize, first: bool },
    Day { ago: usize, first: bool },
    End,
}

/// One piece to show. `first` is false when another of its kind came before it in its list.
pub(crate) enum Part<'a> {
    /// The node itself; the list of streams begins after it.
    Head,
    /// Piece 0 to 2 of a stream: 0 is what it is called, 1 how it does, 2 its disclosure; its list of stripes begins after it.
    Stream {
        piece: u8,
        first: bool,
        status: StreamStatus<'a>,
    },
    Stripe {
        index: usize,
        first: bool,
        status: StripeStatus,
    },
    /// After a stream's last stripe.
    StreamEnd,
    /// After the last stream; the list of neighbours begins after it.
    Peers,
    Peer {
        first: bool,
        status: PeerStatus,
    },
    /// After the last neighbour; the list of players begins after it.
    Players,
    Player {
        first: bool,
        status: PlayerStatus<'a>,
    },
    /// After the last player; the ledger's list of networks begins after it.
    Ledger,
    Network {
        first: bool,
        status: NetworkStatus,
    },
    /// After the last network; the list of days begins after it.
    Days,
    Day {
        first: bool,
        status: DayStatus,
    },
    /// After the last day.
    End,
}

/// Has the piece at `place` written by `render` and returns the place of the next; holes write nothing.
pub(crate) fn step(
    place: Place,
    source: &dyn StatusSource,
    out: &mut Out<'_>,
    render: fn(Part<'_>, &dyn StatusSource, &mut Out<'_>),
) -> Option<Place> {
    let mut show = |part: Part<'_>| render(part, source, out);
    Some(match place {
        Place::Head => {
            show(Part::Head);
            Place::Stream { i: 0, first: true }
        }
        Place::Stream { i, .. } if i >= source.stream_slots() => {
            show(Part::Peers);
            Place::Peer { i: 0, first: true }
        }
        Place::Stream { i, first } => match source.stream(i) {
            Some(status) => {
                show(Part::Stream {
                    piece: 0,
                    first,
                    status,
                });
                Place::StreamPiece { i, piece: 1 }
            }
            None => Place::Stream { i: i + 1, first },
        },
        Place::StreamPiece { i, piece } => {
            let status = source.stream(i).unwrap_or(StreamStatus::GONE);
            show(Part::Stream {
                piece,
                first: false,
                status,
            });
            match piece + 1 {
                STREAM_PIECES.. => Place::Stripe {
                    i,
                    j: 0,
                    first: true,
                },
                piece => Place::StreamPiece { i, piece },
            }
        }
        Place::Stripe { i, j, first } => {
            if j >= source.stream(i).map_or(0, |stream| stream.stripes()) {
                show(Part::StreamEnd);
                return Some(Place::Stream {
                    i: i + 1,
                    first: false,
                });
            }
            let status = source.stripe(i, j);
            if let Some(status) = status {
                show(Part::Stripe {
                    index: j,
                    first,
                    status,
                });
            }
            Place::Stripe {
                i,
                j: j + 1,
                first: first && status.is_none(),
            }
        }
        Place::Peer { i, .. } if i >= source.peer_slots() => {
            show(Part::Players);
            Place::Player { i: 0, first: true }
        }
        Place::Peer { i, first } => {
            let status = source.peer(i);
            if let Some(status) = status {
                show(Part::Peer { first, status });
            }
            Place::Peer {
                i: i + 1,
                first: first && status.is_none(),
            }
        }
        Place::Player { i, .. } if i >= source.player_slots() => {
            show(Part::Ledger);
            Place::Network { i: 0, first: true }
        }
        Place::Player { i, first } => {
            let status = source.player(i);
            if let Some(status) = status {
                show(Part::Player { first, status });
            }
            Place::Player {
                i: i + 1,
                first: first && status.is_none(),
            }
        }
        Place::Network { i, .. } if i >= source.network_slots() => {
            show(Part::Days);
            Place::Day {
                ago: 0,
                first: true,
            }
        }
        Place::Network { i, first } => {
            let status = source.network(i);
            if let Some(status) = status {
                show(Part::Network { first, status });
            }
            Place::Network {
                i: i + 1,
                first: first && status.is_none(),
            }
        }
        Place::Day { ago, .. } if ago >= source.day_slots() => {
            show(Part::End);
            Place::End
        }
        Place::Day { ago, first } => {
            let status = source.day(ago);
            if let Some(status) = status {
                show(Part::Day { first, status });
            }
            Place::Day {
                ago: ago + 1,
                first: first && status.is_none(),
            }
        }
        Place::End => return None,
    })
}
