//! Numbers and texts of a snapshot, little-endian.

/// The bytes end too early, or say what cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut;

#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn number(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn count(&mut self, count: usize) {
        // Nothing here is counted beyond 32 bits: bodies have 64 MiB, groups a limit.
        self.number(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn optional(&mut self, number: Option<i64>) {
        self.byte(u8::from(number.is_some()));
        self.signed(number.unwrap_or_default());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn optional_text(&mut self, text: Option<&str>) {
        self.byte(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }
}

#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Cut> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Cut)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Cut> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Cut> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Cut),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u32, Cut> {
        self.take().map(u32::from_le_bytes)
    }

    /// Of things that each have a byte at least: no count is believed beyond what is there.
    pub(crate) fn count(&mut self) -> Result<usize, Cut> {
        let count = self.number()? as usize;
        if count > self.0.len() { Err(Cut) } else { Ok(count) }
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Cut> {
        self.take().map(i64::from_le_bytes)
    }

    pub(crate) fn optional(&mut self) -> Result<Option<i64>, Cut> {
        let there = self.flag()?;
        let number = self.signed()?;
        Ok(there.then_some(number))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Cut> {
        let count = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Cut)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Cut> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Cut)
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<&'a str>, Cut> {
        let there = self.flag()?;
        let text = self.text()?;
        Ok(there.then_some(text))
    }
}
