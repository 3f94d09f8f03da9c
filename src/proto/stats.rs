//! Counters, in 64 bits, never reset.

/// What happened to a stream here.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct StreamStats {
    /// Bytes received that carry this stream or speak of it alone, IP and UDP headers counted.
    pub rx_bytes: u64,
    /// Bytes sent, likewise.
    pub tx_bytes: u64,
    /// Chunks taken in, new and proved.
    pub chunks: u64,
    /// Media bytes that became playable.
    pub played_bytes: u64,
    /// Chunks that were here already.
    pub duplicate: u64,
    /// Chunks that did not verify.
    pub invalid: u64,
    /// Chunks too old, or without a seal and without room to wait.
    pub dropped: u64,
    /// Chunks that came because this node asked again.
    pub repaired: u64,
    /// Chunks rebuilt from others.
    pub rebuilt: u64,
    /// Times the playout had to skip.
    pub gaps: u64,
    /// Media bytes skipped, as far as their seals are known.
    pub missing_bytes: u64,
    /// Chunks sent to children.
    pub forwarded: u64,
    /// Chunks sent because somebody asked again.
    pub repairs_sent: u64,
    /// Chunks a child did not get because it fell behind.
    pub skipped: u64,
    /// Seals verified.
    pub seals: u64,
    /// Parents given up because nothing came.
    pub parents_lost: u64,
}

/// What happened to the node.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct NodeStats {
    /// Datagrams received.
    pub rx_datagrams: u64,
    /// Bytes received, IP and UDP headers counted.
    pub rx_bytes: u64,
    /// Datagrams sent.
    pub tx_datagrams: u64,
    /// Bytes sent, IP and UDP headers counted.
    pub tx_bytes: u64,
    /// Of those, control datagrams.
    pub tx_control_bytes: u64,
    /// Bytes of seals sent: datagrams like those of control, counted apart, since they are part of the stream.
    pub tx_seal_bytes: u64,
    /// Datagrams that made no sense.
    pub malformed: u64,
    /// Datagrams for sessions that are not here.
    pub stray: u64,
    /// Handshakes begun by others that found no room.
    pub turned_away: u64,
    /// Sessions opened.
    pub sessions: u64,
    /// Sessions that ended for silence.
    pub silent: u64,
}
