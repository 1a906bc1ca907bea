//! Java's partitioning of keys (`partitioner=murmur2_random`, design §2): which partition
//! a key belongs to. Needed when a topic gains partitions (design §1, rule 10).

/// Kafka's murmur2, as in `org.apache.kafka.common.utils.Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Kafka's records are far below 4 GiB; the length takes part modulo 2^32, as in Java.
    #[allow(clippy::cast_possible_truncation, reason = "Java's arithmetic is modulo 2^32")]
    let mut h: u32 = 0x9747_b28c ^ (data.len() as u32);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (i, byte) in tail.iter().enumerate().rev() {
        h ^= u32::from(*byte) << (8 * i);
    }
    if !tail.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The partition of a key in a topic of so many partitions; `None` for a topic of none.
pub fn partition_of(key: &[u8], partitions: i32) -> Option<i32> {
    let count = u32::try_from(partitions).ok().filter(|n| *n > 0)?;
    i32::try_from((murmur2(key) & 0x7fff_ffff) % count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_kafkas_own_test_vectors() {
        // UtilsTest.testMurmur2 of Apache Kafka.
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn a_partition_is_within_the_topic() {
        assert_eq!(partition_of(b"x", 0), None);
        assert_eq!(partition_of(b"x", -1), None);
        for n in 1..50 {
            assert!(partition_of(b"some key", n).is_some_and(|p| (0..n).contains(&p)));
        }
    }
}
