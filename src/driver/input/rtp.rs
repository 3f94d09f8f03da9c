//! MPEG-TS inside RTP (RFC 2250 section 2, RFC 3550 section 5.1): evident from its header, taken off without a word.

/// RTP payload type of MPEG-TS (RFC 3551 section 6).
const MP2T: u8 = 33;

const TS_PACKET_BYTES: usize = 188;
const TS_SYNC: u8 = 0x47;

/// The transport stream packets inside an RTP packet; any other datagram as it is.
pub(super) fn payload(datagram: &[u8]) -> &[u8] {
    mpegts(datagram).unwrap_or(datagram)
}

fn mpegts(packet: &[u8]) -> Option<&[u8]> {
    let (head, mut rest) = packet.split_at_checked(12)?;
    let (flags, payload_type) = (*head.first()?, *head.get(1)? & 0x7f);
    let (version, padded, extended, sources) = (
        flags >> 6,
        flags & 0x20 != 0,
        flags & 0x10 != 0,
        flags & 0x0f,
    );
    if version != 2 || payload_type != MP2T {
        return None;
    }
    rest = rest.get(4 * usize::from(sources)..)?;
    if extended {
        let &[_, _, high, low, ..] = rest else {
            return None;
        };
        rest = rest.get(4 + 4 * usize::from(u16::from_be_bytes([high, low]))..)?;
    }
    if padded {
        rest = rest.get(..rest.len().checked_sub(usize::from(*rest.last()?))?)?;
    }
    let whole = !rest.is_empty() && rest.len().is_multiple_of(TS_PACKET_BYTES);
    (whole
        && rest
            .chunks_exact(TS_PACKET_BYTES)
            .all(|ts| ts.first() == Some(&TS_SYNC)))
    .then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn ts(packets: usize) -> Vec<u8> {
        let mut packet = [0x55; TS_PACKET_BYTES];
        packet[0] = TS_SYNC;
        packet.repeat(packets)
    }

    fn rtp(flags: u8, payload_type: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::from([flags, payload_type, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4]);
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out
    }

    #[test]
    fn headers_are_taken_off() {
        let ts = ts(7);
        assert_eq!(payload(&rtp(0x80, 33, &[&ts])), ts);
        assert_eq!(payload(&rtp(0x80, 33 | 0x80, &[&ts])), ts, "marker");
        assert_eq!(
            payload(&rtp(0x82, 33, &[&[0; 8], &ts])),
            ts,
            "two contributing sources"
        );
        assert_eq!(
            payload(&rtp(0x90, 33, &[&[0, 0, 0, 1, 9, 9, 9, 9], &ts])),
            ts,
            "extension"
        );
        assert_eq!(payload(&rtp(0xa0, 33, &[&ts, &[0, 0, 3]])), ts, "padding");
    }

    #[test]
    fn everything_else_stays() {
        let ts = ts(2);
        for other in [
            ts.clone(),
            rtp(0x80, 96, &[&ts]),
            rtp(0x40, 33, &[&ts]),
            rtp(0x80, 33, &[&ts[1..]]),
            rtp(0x80, 33, &[]),
        ] {
            assert_eq!(payload(&other), other);
        }
        // Lengths that point outside.
        for other in [
            rtp(0x8f, 33, &[&[1]]),
            rtp(0x90, 33, &[&[0, 0, 255, 255]]),
            rtp(0xa0, 33, &[&[255]]),
            Vec::new(),
        ] {
            assert_eq!(payload(&other), other);
        }
    }
}
