//! Keys as text, for those who print and keep them: the spelling is the wire's.

use crate::wire::uri::KeyText;
use std::string::{String, ToString};

pub use crate::wire::uri::decode_key;

/// A key as text: 52 characters.
pub fn encode(key: &[u8; 32]) -> String {
    KeyText::new(key).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        let text = encode(&[0xa5; 32]);
        assert_eq!(text.len(), 52);
        assert_eq!(decode_key(&text), Some([0xa5; 32]));
        let with_last = |last: &str| [&text[..51], last].concat();
        assert_eq!(decode_key(&with_last("q")), Some([0xa5; 32]));
        assert_eq!(decode_key(&with_last("r")), None, "an unused bit is set");
        assert_eq!(
            decode_key(&with_last("1")),
            None,
            "1 is not in the alphabet"
        );
        assert_eq!(decode_key(&text[1..]), None);
        assert_eq!(decode_key(&with_last("qa")), None, "too long");
    }
}
