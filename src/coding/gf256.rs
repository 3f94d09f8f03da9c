//! Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11D) and the generator 2: the field of RFC 5510
//! section 8.1 (m = 8), of Backblaze's Reed-Solomon and of the crate `reed-solomon-erasure`.
//!
//! Addition is XOR. Single products go through logarithms. A whole chunk times one coefficient goes through two tables
//! of 16 products made for the call: 32 bytes that stay in any cache, where a full table of products would need 64 KiB.

const POLYNOMIAL: u16 = 0x11d;

/// Powers of the generator, written twice so that a sum of two logarithms needs no reduction by 255.
const EXP: [u8; 512] = exp_table();

/// Logarithms to the base of the generator; the entry of 0 means nothing.
const LOG: [u8; 256] = log_table();

const fn exp_table() -> [u8; 512] {
    let mut table = [0; 512];
    let mut power: u16 = 1;
    let mut i = 0;
    while i < table.len() {
        table[i] = power as u8;
        power <<= 1;
        if power & 0x100 != 0 {
            power ^= POLYNOMIAL;
        }
        i += 1;
    }
    table
}

const fn log_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 255 {
        table[EXP[i] as usize] = i as u8;
        i += 1;
    }
    table
}

/// The product of two elements.
pub fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    // Two logarithms are at most 254 each, and the table has 512 entries.
    EXP[usize::from(LOG[usize::from(a)]) + usize::from(LOG[usize::from(b)])]
}

/// The element whose product with `a` is 1. Zero has none and gives 0.
pub fn inv(a: u8) -> u8 {
    if a == 0 {
        return 0;
    }
    EXP[255 - usize::from(LOG[usize::from(a)])]
}

/// `dst += c * src`, byte by byte, over the shorter of the two lengths.
pub fn mul_add(dst: &mut [u8], src: &[u8], c: u8) {
    match c {
        0 => {}
        1 => add(dst, src),
        _ => {
            let products = Products::of(c);
            for (d, s) in dst.iter_mut().zip(src) {
                *d ^= products.get(*s);
            }
        }
    }
}

/// `dst = c * src`, byte by byte, over the shorter of the two lengths.
pub fn mul_set(dst: &mut [u8], src: &[u8], c: u8) {
    let products = Products::of(c);
    for (d, s) in dst.iter_mut().zip(src) {
        *d = products.get(*s);
    }
}

/// `dst += src`, eight bytes at a time.
fn add(dst: &mut [u8], src: &[u8]) {
    let len = dst.len().min(src.len());
    let (dst_words, dst_rest) = dst[..len].as_chunks_mut::<8>();
    let (src_words, src_rest) = src[..len].as_chunks::<8>();
    for (d, s) in dst_words.iter_mut().zip(src_words) {
        *d = (u64::from_ne_bytes(*d) ^ u64::from_ne_bytes(*s)).to_ne_bytes();
    }
    for (d, s) in dst_rest.iter_mut().zip(src_rest) {
        *d ^= s;
    }
}

/// All products of one element, split by the halves of the other: `c * s = low[s & 15] + high[s >> 4]`.
struct Products {
    low: [u8; 16],
    high: [u8; 16],
}

impl Products {
    fn of(c: u8) -> Self {
        Self {
            low: multiples(c),
            high: multiples(mul(c, 16)),
        }
    }

    fn get(&self, s: u8) -> u8 {
        self.low[usize::from(s & 15)] ^ self.high[usize::from(s >> 4)]
    }
}

/// `c` times 0 to 15. Each power of two doubles the one before; the entries between are sums.
fn multiples(c: u8) -> [u8; 16] {
    let c2 = mul(c, 2);
    let c4 = mul(c, 4);
    let c8 = mul(c, 8);
    let mut table = [0; 16];
    for (i, entry) in table.iter_mut().enumerate() {
        for (bit, multiple) in [c, c2, c4, c8].into_iter().enumerate() {
            if i >> bit & 1 == 1 {
                *entry ^= multiple;
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::vec::Vec;

    /// Schoolbook multiplication of polynomials, reduced bit by bit; shares nothing with the tables.
    fn mul_slowly(a: u8, b: u8) -> u8 {
        let mut product: u16 = 0;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= u16::from(a) << bit;
            }
        }
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11d << (bit - 8);
            }
        }
        product as u8
    }

    fn power(base: u8, exponent: usize) -> u8 {
        (0..exponent).fold(1, |product, _| mul(product, base))
    }

    #[test]
    fn published_vectors() {
        // GaloisTest.java of Backblaze's JavaReedSolomon.
        assert_eq!(mul(3, 4), 12);
        assert_eq!(mul(7, 7), 21);
        assert_eq!(mul(23, 45), 41);
        assert_eq!(power(2, 2), 4);
        assert_eq!(power(5, 20), 235);
        assert_eq!(power(13, 7), 43);
    }

    #[test]
    fn every_product_and_inverse() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), mul_slowly(a, b), "{a} * {b}");
            }
        }
        assert!((1..=255).all(|a| mul_slowly(a, inv(a)) == 1));
        assert_eq!(inv(0), 0);
    }

    #[test]
    fn slices_are_products_byte_by_byte() {
        let all: Vec<u8> = (0..=255).collect();
        for c in 0..=255 {
            let mut set = [0xaa; 256];
            mul_set(&mut set, &all, c);
            let mut sum = [0x55; 256];
            mul_add(&mut sum, &all, c);
            for s in 0..=255 {
                assert_eq!(set[usize::from(s)], mul_slowly(c, s));
                assert_eq!(sum[usize::from(s)], 0x55 ^ mul_slowly(c, s));
            }
        }
    }

    #[test]
    fn unequal_lengths_stop_at_the_shorter() {
        let mut rng = Rng::new(1);
        for dst_len in 0..40 {
            for src_len in 0..40 {
                let src: Vec<u8> = (0..src_len).map(|_| rng.next_u64() as u8).collect();
                for c in [0, 1, 2, 0x8e] {
                    let mut dst: Vec<u8> = (0..dst_len).map(|_| rng.next_u64() as u8).collect();
                    let expected: Vec<u8> = (dst.iter().enumerate())
                        .map(|(i, d)| d ^ src.get(i).map_or(0, |s| mul_slowly(c, *s)))
                        .collect();
                    mul_add(&mut dst, &src, c);
                    assert_eq!(dst, expected);
                }
            }
        }
    }
}
