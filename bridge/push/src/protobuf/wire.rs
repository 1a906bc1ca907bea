//! Protobuf's wire format: the bytes of a message, field by field.
use super::Fault;

pub(super) const SHORT: Fault = Fault::Protobuf("it ends too early");

/// The bytes of a message.
pub(super) struct Wire<'a>(pub(super) &'a [u8]);

/// What a field holds.
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
    /// Of 32 bits: no field here has it.
    Other,
}

impl<'a> Wire<'a> {
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(SHORT)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Fault::Protobuf("a number has more than ten bytes"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, Fault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(SHORT)?;
                self.0 = rest;
                Value::Fixed(u64::from_le_bytes(*bytes))
            }
            2 => Value::Bytes(self.bytes()?),
            5 => {
                self.0 = self.0.get(4..).ok_or(SHORT)?;
                Value::Other
            }
            _ => return Err(Fault::Protobuf("a field has an unknown wire type")),
        };
        Ok(Some((tag >> 3, value)))
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Protobuf("a text is not UTF-8"))
}

/// A message of two doubles.
pub(super) fn two_doubles(bytes: &[u8]) -> Result<(f64, f64), Fault> {
    let (mut one, mut two) = (0.0, 0.0);
    let mut wire = Wire(bytes);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Fixed(bits)) => one = f64::from_bits(bits),
            (2, Value::Fixed(bits)) => two = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok((one, two))
}
