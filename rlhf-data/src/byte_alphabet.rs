//! The printable characters that stand for bytes in byte-level vocabularies, as GPT-2 defined
//! them: a byte that is a visible Latin-1 character stands for itself, the other 68 are moved to
//! U+0100 and above in order.

/// Whether the byte is written as the character of the same number.
fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that stands for a byte.
pub(crate) fn byte_to_char(byte: u8) -> char {
    if is_itself(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|&b| !is_itself(b)).count() as u32;
    char::from_u32(256 + rank).unwrap_or('\u{fffd}')
}

/// The byte that a character stands for, if it is one of the 256.
pub(crate) fn char_to_byte(c: char) -> Option<u8> {
    let code = u32::from(c);
    if let Ok(byte) = u8::try_from(code) {
        return is_itself(byte).then_some(byte);
    }
    let rank = code.checked_sub(256)? as usize;
    (0..=255u8).filter(|&b| !is_itself(b)).nth(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        let all: std::collections::BTreeSet<char> = (0..=255).map(byte_to_char).collect();
        assert_eq!(all.len(), 256);
        for byte in 0..=255 {
            assert_eq!(char_to_byte(byte_to_char(byte)), Some(byte));
        }
        assert_eq!((byte_to_char(b' '), byte_to_char(b'\n')), ('Ġ', 'Ċ'));
        assert_eq!((char_to_byte(' '), char_to_byte('語')), (None, None));
    }
}
