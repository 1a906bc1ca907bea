//! Protobuf's wire format, as far as it is written: into one growing buffer, each nested
//! message in place.

/// Appends a varint.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a varint field.
pub(crate) fn push_number(out: &mut Vec<u8>, field: u8, number: u64) {
    push_tag(out, field, 0);
    push_varint(out, number);
}

/// Appends a double field.
pub(crate) fn push_double(out: &mut Vec<u8>, field: u8, number: f64) {
    push_tag(out, field, 1);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends a field of bytes.
pub(crate) fn push_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    push_tag(out, field, 2);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A signed number as sint32 and sint64 have it.
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// Opens a nested message; give what it returns to [`close`] when its fields are written.
pub(crate) fn open(out: &mut Vec<u8>, field: u8) -> usize {
    push_tag(out, field, 2);
    // Most messages have fewer than 128 bytes: one byte for the length.
    out.push(0);
    out.len()
}

/// Closes a nested message: writes its length before it.
pub(crate) fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    push_varint(&mut prefix, length as u64);
    let more = prefix.len() - 1;
    out.extend_from_slice(&prefix[1..]);
    out.copy_within(start..start + length, start + more);
    out[start - 1..start + more].copy_from_slice(&prefix);
}

/// No field of a metric has a number above 31.
fn push_tag(out: &mut Vec<u8>, field: u8, wire_type: u8) {
    push_varint(out, u64::from(field) << 3 | u64::from(wire_type));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        for (number, expected) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0x80, 1]),
            (300, vec![0xac, 2]),
            (u64::MAX, [vec![0xff; 9], vec![1]].concat()),
        ] {
            let mut out = Vec::new();
            push_varint(&mut out, number);
            assert_eq!(out, expected, "{number}");
        }
    }

    #[test]
    fn zigzags() {
        for (number, expected) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MAX, u64::MAX - 1), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(number), expected);
        }
    }

    #[test]
    fn nested_messages_of_any_length() {
        for length in [0usize, 1, 127, 128, 129, 16_383, 16_384, 70_000] {
            let mut out = vec![7];
            let start = open(&mut out, 4);
            out.extend((0..length).map(|i| i as u8));
            close(&mut out, start);
            let mut expected = vec![7];
            push_bytes(&mut expected, 4, &(0..length).map(|i| i as u8).collect::<Vec<_>>());
            assert!(out == expected, "{length}");
        }
    }

    #[test]
    fn fields() {
        let mut out = Vec::new();
        push_number(&mut out, 15, 1);
        push_number(&mut out, 16, 1);
        push_double(&mut out, 1, 1.0);
        assert_eq!(out, [0x78, 1, 0x80, 1, 1, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    }
}
