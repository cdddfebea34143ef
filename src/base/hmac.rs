//! HMAC-SHA-256, by which AWS's signatures and Tollgate's own capabilities are made.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

#[expect(
    clippy::expect_used,
    reason = "HMAC hashes long keys and fills up short ones, so that no key has a wrong length"
)]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex::hex;

    /// RFC 4231, test cases 1, 2 and 6 (a key longer than a block).
    #[test]
    fn it_is_that_of_the_rfc() {
        for (key, message, wanted) in [
            (&[0x0b; 20][..], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac_sha256(key, message)), wanted);
        }
    }
}
