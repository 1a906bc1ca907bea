//! Numbers and texts as bytes, for snapshots: varints (LEB128), texts with their length.

/// The bytes end too early or say what cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

pub(super) fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push((n & 0x7f) as u8);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Takes from the front of the bytes.
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl<'a> Take<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Broken> {
        self.bytes(1).map(|taken| taken[0])
    }

    pub(super) fn number(&mut self) -> Result<u64, Broken> {
        let mut n = 0u64;
        for place in 0..10 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            n |= bits.checked_shl(7 * place).filter(|shifted| shifted >> (7 * place) == bits).ok_or(Broken)?;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Broken)
    }

    /// How many things follow, each of at least one byte: bounds what is reserved for them.
    pub(super) fn count(&mut self) -> Result<usize, Broken> {
        let count = usize::try_from(self.number()?).map_err(|_| Broken)?;
        if count > self.0.len() { Err(Broken) } else { Ok(count) }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Broken> {
        let length = self.count()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| Broken)
    }

    pub(super) fn float(&mut self) -> Result<f64, Broken> {
        let bytes = self.bytes(8)?.try_into().map_err(|_| Broken)?;
        Ok(f64::from_bits(u64::from_le_bytes(bytes)))
    }
}
