//! Reading requests: bounded bodies, queries, paths, Prometheus' timeout header.
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use super::{BoxBody, BoxError, problem};

/// How long a client may take to send one request body, whatever its pace.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Below this pace it is given up earlier: a body may take this long …
const BODY_START: Duration = Duration::from_secs(5);
/// … and a second more for each so many bytes that have come.
const BODY_PACE: usize = 4 << 10;

/// A request body that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadBodyError {
    /// Longer than the limit (bytes).
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// Not there within [`BODY_TIMEOUT`], or slower than 4 KiB a second after the first 5 s.
    #[error("the body did not arrive within {} s, or slower than {BODY_PACE} bytes a second", BODY_TIMEOUT.as_secs())]
    Timeout,
    /// The connection broke, or the framing was wrong.
    #[error("the body could not be read: {0}")]
    Broken(BoxError),
}

impl ReadBodyError {
    /// The answer to the client.
    pub fn response(&self) -> Response<BoxBody> {
        let (status, title, remedy) = match self {
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body too large", "Send less."),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "body too slow", "Send it faster."),
            Self::Broken(_) => (StatusCode::BAD_REQUEST, "body broken", "Send it again, whole."),
        };
        problem(status, title, &format!("{self}. {remedy}"), None)
    }
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// See [`ReadBodyError`]; nothing beyond the limit is kept in memory.
pub async fn read_body<B>(body: B, limit: usize) -> Result<Bytes, ReadBodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(ReadBodyError::TooLarge(limit));
    }
    let begun = Instant::now();
    let mut body = std::pin::pin!(Limited::new(body, limit));
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let granted = BODY_START + Duration::from_secs(((first.len() + all.len()) / BODY_PACE) as u64);
        let Ok(next) = tokio::time::timeout_at(begun + granted.min(BODY_TIMEOUT), body.frame()).await else {
            return Err(ReadBodyError::Timeout);
        };
        let frame = match next {
            None if all.is_empty() => return Ok(first),
            None => return Ok(all.freeze()),
            Some(Ok(frame)) => frame,
            Some(Err(error)) if error.is::<LengthLimitError>() => return Err(ReadBodyError::TooLarge(limit)),
            Some(Err(error)) => return Err(ReadBodyError::Broken(error)),
        };
        let Ok(data) = frame.into_data() else { continue };
        // One piece is not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
}

/// The longest scrape timeout that is taken from a header.
const MAX_SCRAPE_TIMEOUT: f64 = 3600.0;

/// `X-Prometheus-Scrape-Timeout-Seconds`; none where it is missing or no positive
/// number. At most an hour.
pub fn scrape_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("x-prometheus-scrape-timeout-seconds")?.to_str().ok()?;
    let seconds: f64 = text.trim().parse().ok()?;
    if !seconds.is_finite() || seconds <= 0.0 {
        return None;
    }
    Some(Duration::from_secs_f64(seconds.min(MAX_SCRAPE_TIMEOUT)))
}

/// Percent-encoded text that is not UTF-8 when decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("percent-encoded text that is not UTF-8; encode the UTF-8 bytes of the text")]
pub struct DecodeError;

/// Decodes one segment of a path. `+` stays a plus, a lone `%` stays a percent sign.
///
/// # Errors
/// When the result is not UTF-8.
pub fn decode_path_segment(segment: &str) -> Result<String, DecodeError> {
    let decoded = percent_decode_str(segment).decode_utf8().map_err(|_| DecodeError)?;
    Ok(decoded.into_owned())
}

/// The decoded pairs of a query, in order; a name may come more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses what stands behind the `?`. A name without `=` has an empty value, `+` is
    /// a blank.
    ///
    /// # Errors
    /// When a decoded name or value is not UTF-8.
    pub fn parse(query: &str) -> Result<Self, DecodeError> {
        let decode = |text: &str| decode_path_segment(&text.replace('+', " "));
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self { pairs })
    }

    /// The query of a request; an empty one if it has none.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn of<B>(request: &hyper::Request<B>) -> Result<Self, DecodeError> {
        Self::parse(request.uri().query().unwrap_or(""))
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of `name`.
    pub fn all<'q, 'n>(&'q self, name: &'n str) -> impl Iterator<Item = &'q str> + use<'q, 'n> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The names, to refuse unknown ones.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::http::{full, stream};

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_not_beyond() {
        assert_eq!(read_body(full("abc"), 3).await.unwrap(), "abc");
        let declared = read_body(full("abcd"), 3).await.unwrap_err();
        assert!(matches!(declared, ReadBodyError::TooLarge(3)));
        let (tx, rx) = tokio::sync::mpsc::channel(2);
        tx.send(Bytes::from("ab")).await.unwrap();
        tx.send(Bytes::from("cd")).await.unwrap();
        // The sender lives: reading must stop at the limit, not at the end.
        let streamed = read_body(stream(rx), 3).await.unwrap_err();
        assert!(matches!(streamed, ReadBodyError::TooLarge(3)));
        assert_eq!(streamed.response().status(), 413);
        drop(tx);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let (tx, rx) = tokio::sync::mpsc::channel::<Bytes>(1);
        let error = read_body(stream(rx), 3).await.unwrap_err();
        assert!(matches!(error, ReadBodyError::Timeout));
        assert_eq!(error.response().status(), 408);
        drop(tx);
    }

    /// Ends after `seconds` of `bytes` each.
    async fn trickle(bytes: usize, seconds: usize) -> Result<usize, ReadBodyError> {
        let (tx, rx) = tokio::sync::mpsc::channel::<Bytes>(1);
        tokio::spawn(async move {
            for _ in 0..seconds {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if tx.send(vec![b'x'; bytes].into()).await.is_err() {
                    return;
                }
            }
        });
        read_body(stream(rx), 1 << 20).await.map(|body| body.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_a_least_pace_and_a_longest_time() {
        let begun = Instant::now();
        assert!(matches!(trickle(1, 100).await, Err(ReadBodyError::Timeout)), "a byte a second");
        assert_eq!(begun.elapsed().as_secs(), 5);
        assert_eq!(trickle(1, 4).await.unwrap(), 4, "a short one may be slow");
        assert_eq!(trickle(BODY_PACE, 29).await.unwrap(), 29 * BODY_PACE, "slow and honest");
        let begun = Instant::now();
        assert!(matches!(trickle(BODY_PACE, 100).await, Err(ReadBodyError::Timeout)), "but not for ever");
        assert_eq!(begun.elapsed(), BODY_TIMEOUT);
    }

    #[tokio::test]
    async fn a_broken_body_is_the_clients_fault() {
        let (tx, rx) = tokio::sync::mpsc::channel(1);
        tx.send(Err("reset".into())).await.unwrap();
        let error = read_body(crate::http::try_stream(rx), 3).await.unwrap_err();
        assert_eq!(error.response().status(), 400);
        assert_eq!(error.to_string(), "the body could not be read: reset");
    }

    #[test]
    fn the_scrape_timeout_is_a_positive_number_or_nothing() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("X-Prometheus-Scrape-Timeout-Seconds", text.parse().unwrap());
            scrape_timeout(&headers)
        };
        assert_eq!(read("10"), Some(Duration::from_secs(10)));
        assert_eq!(read("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read(" 10 "), Some(Duration::from_secs(10)));
        assert_eq!(read("1e9"), Some(Duration::from_secs(3600)));
        for text in ["", "0", "-1", "NaN", "inf", "-inf", "1e999", "10s", "1,5"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(scrape_timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn queries_are_decoded_in_order() {
        let query = Query::parse("a=1&b=x%20y+z&a=2&c&=e&&d=a%3Db%26c&u=%C3%A4").unwrap();
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x y z"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.get(""), Some("e"));
        assert_eq!(query.get("d"), Some("a=b&c"));
        assert_eq!(query.get("u"), Some("ä"));
        assert_eq!(query.get("none"), None);
        assert_eq!(query.names().count(), 7);
        assert_eq!(Query::parse("").unwrap(), Query::default());
        assert_eq!(Query::parse("a=%2B").unwrap().get("a"), Some("+"));
        assert_eq!(Query::parse("a=100%").unwrap().get("a"), Some("100%"));
        assert_eq!(Query::parse("a=%FF"), Err(DecodeError));
        assert_eq!(Query::parse("%FF=a"), Err(DecodeError));
    }

    #[test]
    fn a_path_segment_keeps_its_plus() {
        let case = |segment: &str, text: &str| {
            assert_eq!(decode_path_segment(segment).as_deref(), Ok(text), "{segment}");
        };
        case("a+b", "a+b");
        case("cluster%3D%22acme%22", "cluster=\"acme\"");
        case("a%2Fb", "a/b");
        case("%", "%");
        case("%zz", "%zz");
        assert_eq!(decode_path_segment("%C3"), Err(DecodeError));
    }
}
