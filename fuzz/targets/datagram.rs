//! A datagram from anybody. What is taken apart is written again as it was.

use weir::limits::MAX_DATAGRAM_BYTES;
use weir::wire::datagram::{Datagram, is_answer};

pub fn run(bytes: &[u8]) {
    let _ = is_answer(bytes);
    let Ok(datagram) = Datagram::parse(bytes) else {
        return;
    };
    let mut out = [0; MAX_DATAGRAM_BYTES];
    let len = datagram.write(&mut out).expect("it fitted before");
    // What a Hello pads itself out with says nothing.
    if matches!(datagram, Datagram::Hello { .. }) {
        assert_eq!(len, bytes.len());
    } else {
        assert_eq!(&out[..len], bytes);
    }
}
