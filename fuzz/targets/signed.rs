//! The two signed documents, before their signatures are looked at.

use weir::limits::MAX_DATAGRAM_BYTES;
use weir::wire::descriptor::Descriptor;
use weir::wire::seal::Seal;

pub fn run(bytes: &[u8]) {
    if let Ok((descriptor, signed, _)) = Descriptor::parse(bytes) {
        assert!(signed.len() <= bytes.len());
        let mut out = [0; 2 * MAX_DATAGRAM_BYTES];
        let len = descriptor.write(&mut out).expect("it fitted before");
        out[len..len + 64].fill(0);
        let again = Descriptor::parse(&out[..len + 64]).map(|(again, ..)| again);
        assert_eq!(again, Ok(descriptor));
    }
    if let Ok(seal) = Seal::parse(bytes) {
        let blocks = seal.blocks().count();
        assert!(blocks * 32 <= bytes.len());
        assert!(seal.blocks().all(|(block, _)| block < seal.end_block()));
    }
}
