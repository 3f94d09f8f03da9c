//! What is in a sealed datagram: messages one behind the other. What is read is what writing it gives, read again.

use weir::wire::datagram::MAX_CONTROL_BYTES;
use weir::wire::message::{Message, read_try_these, write_try_these};

pub fn run(bytes: &[u8]) {
    let mut out = [0; 2 * MAX_CONTROL_BYTES];
    if let Ok(list) = read_try_these(bytes) {
        let len = write_try_these(&list, &mut out).expect("it fitted before");
        assert_eq!(read_try_these(&out[..len]), Ok(list));
    }
    let mut rest = &bytes[..bytes.len().min(MAX_CONTROL_BYTES)];
    while let Ok((message, left)) = Message::take(rest) {
        assert!(left.len() < rest.len());
        let len = message.write(&mut out).expect("it fitted before");
        assert_eq!(Message::take(&out[..len]), Ok((message, &[][..])));
        rest = left;
    }
}
