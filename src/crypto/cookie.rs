//! The stateless cookie: an address is proved before any state or larger answer is spent on it.

use crate::time::Instant;
use crate::wire::addr::Addr;
use crate::wire::datagram::COOKIE_BYTES;

const BUCKET_US: u64 = 8_000_000;

/// Makes and checks cookies. A cookie holds for 8 to 16 seconds, for one address and one session id.
pub struct CookieJar {
    secret: [u8; 32],
}

impl CookieJar {
    /// `secret` is fresh for every start of the node.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The cookie for a Hello.
    pub fn bake(&self, now: Instant, from: Addr, session: u64) -> [u8; COOKIE_BYTES] {
        self.at(now.as_us() / BUCKET_US, from, session)
    }

    /// Whether this node gave that cookie to that address lately.
    pub fn fits(
        &self,
        now: Instant,
        from: Addr,
        session: u64,
        cookie: &[u8; COOKIE_BYTES],
    ) -> bool {
        let bucket = now.as_us() / BUCKET_US;
        let same = |b: u64| {
            let ours = self.at(b, from, session);
            // No early exit: the time taken must not tell how many bytes were right.
            ours.iter()
                .zip(cookie)
                .fold(0, |diff, (a, b)| diff | (a ^ b))
                == 0
        };
        same(bucket) || bucket.checked_sub(1).is_some_and(same)
    }

    fn at(&self, bucket: u64, from: Addr, session: u64) -> [u8; COOKIE_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&bucket.to_be_bytes());
        hasher.update(&session.to_be_bytes());
        hasher.update(&from.key_bytes());
        let mut out = [0; COOKIE_BYTES];
        out.copy_from_slice(&hasher.finalize().as_bytes()[..COOKIE_BYTES]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn holds_for_its_address_session_and_time_only() {
        let jar = CookieJar::new([1; 32]);
        let addr = |text: &str| Addr::udp(text.parse().unwrap());
        let (t, a) = (Instant::from_us(100_000_000), addr("10.0.0.1:1"));
        let cookie = jar.bake(t, a, 5);
        assert!(jar.fits(t, a, 5, &cookie));
        assert!(jar.fits(t + Span::from_s(8), a, 5, &cookie));
        assert!(!jar.fits(t + Span::from_s(17), a, 5, &cookie));
        assert!(!jar.fits(t, addr("10.0.0.2:1"), 5, &cookie));
        assert!(!jar.fits(t, addr("10.0.0.1:2"), 5, &cookie));
        assert!(!jar.fits(t, a, 6, &cookie));
        assert!(!CookieJar::new([2; 32]).fits(t, a, 5, &cookie));
    }
}
