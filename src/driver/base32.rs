//! Base32 (RFC 4648 section 6) without padding, lower case, as keys are written in URIs and key files.

use std::string::String;
use std::vec::Vec;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// `bytes` as text: eight characters for every five bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut held, mut held_bits) = (0_u32, 0);
    for &byte in bytes {
        held = (held << 8) | u32::from(byte);
        held_bits += 8;
        while held_bits >= 5 {
            held_bits -= 5;
            text.push(letter(held >> held_bits));
        }
    }
    if held_bits > 0 {
        text.push(letter(held << (5 - held_bits)));
    }
    text
}

/// The bytes of `text` in either case, or nothing where a character, the length or an unused last bit is wrong:
/// every byte string has one spelling.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut held_bits) = (0_u32, 0);
    for character in text.bytes() {
        let digit = match character {
            b'a'..=b'z' => character - b'a',
            b'A'..=b'Z' => character - b'A',
            b'2'..=b'7' => character - b'2' + 26,
            _ => return None,
        };
        held = (held << 5) | u32::from(digit);
        held_bits += 5;
        if held_bits >= 8 {
            held_bits -= 8;
            bytes.push((held >> held_bits) as u8);
            held &= (1 << held_bits) - 1;
        }
    }
    (held_bits < 5 && held == 0).then_some(bytes)
}

/// The 32 bytes of a key, or nothing.
pub fn decode_key(text: &str) -> Option<[u8; 32]> {
    decode(text)?.try_into().ok()
}

fn letter(bits: u32) -> char {
    char::from(ALPHABET[(bits & 31) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_section_10_vectors() {
        let vectors = [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ];
        for (plain, text) in vectors {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(plain.as_bytes()));
            assert_eq!(
                decode(&text.to_uppercase()).as_deref(),
                Some(plain.as_bytes())
            );
        }
    }

    #[test]
    fn a_key_has_one_spelling() {
        let text = encode(&[0xa5; 32]);
        assert_eq!(text.len(), 52);
        assert_eq!(decode_key(&text), Some([0xa5; 32]));
        assert_eq!(decode("mz"), None, "two unused bits that are set");
        assert_eq!(decode("mzx"), None, "a length no bytes have");
        assert_eq!(decode("m1"), None, "1 is not in the alphabet");
        assert_eq!(decode_key(&text[1..]), None);
    }
}
