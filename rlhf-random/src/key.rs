//! What a stream can be keyed by.

/// A part of a stream's name: a text or a whole number.
pub trait Key {
    /// The name under `parent` that this key leads to.
    fn fold(&self, parent: u64) -> u64;
}

impl Key for u64 {
    fn fold(&self, parent: u64) -> u64 {
        mix(mix(parent ^ 0x1000_0000_0000_0001).wrapping_add(*self))
    }
}

impl Key for usize {
    fn fold(&self, parent: u64) -> u64 {
        (*self as u64).fold(parent)
    }
}

impl Key for u32 {
    fn fold(&self, parent: u64) -> u64 {
        u64::from(*self).fold(parent)
    }
}

impl Key for i32 {
    fn fold(&self, parent: u64) -> u64 {
        (i64::from(*self) as u64).fold(parent)
    }
}

impl Key for &str {
    fn fold(&self, parent: u64) -> u64 {
        let start = mix(parent ^ 0x2000_0000_0000_0002 ^ ((self.len() as u64) << 8));
        self.bytes().fold(start, |name, byte| {
            mix(name.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(byte))
        })
    }
}

impl Key for &String {
    fn fold(&self, parent: u64) -> u64 {
        self.as_str().fold(parent)
    }
}

/// The finaliser of SplitMix64: a bijection of 64 bits that scatters close inputs.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
