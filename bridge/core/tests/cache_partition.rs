//! One partition's cache, record by record.
#![allow(clippy::unwrap_used, reason = "tests")]
mod cache_util;

use cache_util::{Rec, T0, apply, cache, now, word, write};
use k2p_core::cache::{CacheConfig, CatalogueEntry, KEPT_REFUSALS, Limits, PartitionCache, Staleness};
use k2p_core::exposition::Format;
use k2p_core::labels::Labels;
use k2p_core::partitioner::partition_of;

const A: &str = r#"i="a""#;
const B: &str = r#"i="b""#;
const MIN: i64 = 60_000;

/// Applies records at time 0 and compares what became of each, then the exposition
/// without its TYPE lines.
fn check(config: CacheConfig, records: &[(Rec, &str)], shown: &str) {
    let mut cache = cache(config);
    for (rec, expected) in records {
        let applied = apply(&mut cache, rec, 0);
        assert_eq!(word(&applied), *expected, "{rec:?} {applied:?}");
    }
    assert_eq!(samples(&cache.view()), shown);
}

fn samples(view: &std::sync::Arc<k2p_core::view::PartitionView>) -> String {
    let (text, _) = write(std::slice::from_ref(view), Format::Text004);
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

fn limited(limits: Limits) -> CacheConfig {
    CacheConfig { limits, ..CacheConfig::default() }
}

fn plain(records: &[(Rec, &str)], shown: &str) {
    check(CacheConfig::default(), records, shown);
}

#[test]
fn a_newer_dump_replaces_the_older_whole() {
    plain(
        &[(Rec::new(0, A, 0, "m 1\nn 1\n"), "accepted 2"), (Rec::new(1, A, 5, "m 2\n"), "accepted 1")],
        "m{i=\"a\"} 2",
    );
}

#[test]
fn rule_8() {
    let first = || (Rec::new(0, A, 0, "m 1\n"), "accepted 1");
    for (time, word, shown) in [
        (1, "accepted 1", "m{i=\"a\"} 2"),
        (0, "accepted 1", "m{i=\"a\"} 2"),
        (-1, "dropped older", "m{i=\"a\"} 1"),
        (-10 * MIN, "dropped older", "m{i=\"a\"} 1"),
        (-10 * MIN - 1, "accepted 1", "m{i=\"a\"} 2"),
    ] {
        plain(&[first(), (Rec::new(1, A, time, "m 2\n"), word)], shown);
    }
    // It does not judge a deletion, and outlives one.
    plain(&[first(), (Rec::new(1, A, -5, ""), "deleted"), (Rec::new(2, A, -1, "m 2\n"), "dropped older")], "");
    plain(&[first(), (Rec::new(1, A, 0, ""), "deleted"), (Rec::new(2, A, 1, "m 2\n"), "accepted 1")], "m{i=\"a\"} 2");
    // A refused dump sets no time.
    plain(
        &[first(), (Rec::new(1, A, 9, "{\n"), "refused not_a_dump"), (Rec::new(2, A, 5, "m 2\n"), "accepted 1")],
        "m{i=\"a\"} 2",
    );
}

#[test]
fn refused_dumps_leave_the_last_good_one() {
    let limits = Limits {
        dump_bytes: 40,
        series_per_origin: 2,
        origins: 2,
        label_name_bytes: 4,
        label_value_bytes: 8,
        ..Limits::default()
    };
    for (value, word) in [
        ("m 1\nn 1\no 1\n", "refused too_many_series"),
        ("m{abcde=\"1\"} 1\n", "refused label_too_long"),
        ("m{a=\"123456789\"} 1\n", "refused label_too_long"),
        ("m 1\n                                        \n", "refused too_large"),
        ("no exposition at all\n", "refused not_a_dump"),
        ("\0\u{1}\u{2}\u{3}\u{4}", "refused not_a_dump"),
    ] {
        check(
            limited(limits),
            &[(Rec::new(0, A, 0, "m 0\n"), "accepted 1"), (Rec::new(1, A, 1, value), word)],
            "m{i=\"a\"} 0",
        );
    }
    let c = || Rec::new(2, r#"i="c""#, 0, "m 2\n");
    let (a, b) = (Rec::new(0, A, 0, "m 0\n"), Rec::new(1, B, 0, "m 1\n"));
    let known = [(a.clone(), "accepted 1"), (b.clone(), "accepted 1")];
    let full = [
        known[0].clone(),
        known[1].clone(),
        (c(), "refused too_many_origins"),
        (Rec::new(3, A, 1, "m 3\n"), "accepted 1"),
    ];
    check(limited(limits), &full, "m{i=\"a\"} 3\nm{i=\"b\"} 1");
    let freed = [known[0].clone(), known[1].clone(), (Rec::new(2, B, 0, ""), "deleted"), (c(), "accepted 1")];
    check(limited(limits), &freed, "m{i=\"a\"} 0\nm{i=\"c\"} 2");
    let long = Rec::new(0, r#"abcde="1""#, 0, "m 0\n");
    check(limited(limits), &[(long, "refused label_too_long")], "");
}

#[test]
fn bad_records_are_refused_with_their_reason() {
    for (rec, word) in [
        (Rec::new(0, r#"le="1""#, 0, "m 1\n"), "refused bad_key"),
        (Rec::new(0, A, 0, "m 1\n").header("k2p-time", "soon"), "refused bad_header"),
        (Rec::new(0, A, 0, "m 1\n").header("k2p-part", "3/2;x"), "refused bad_header"),
        (Rec::new(0, A, 0, "m 1\n").header("content-encoding", "br"), "refused bad_encoding"),
        (Rec::new(0, A, 0, "m 1\n").header("content-type", "application/json"), "refused unknown_format"),
        (Rec::new(0, A, 0, "m 1\n").header("content-type", "application/openmetrics-text"), "refused truncated"),
        (Rec::new(0, A, 0, "m 1\nm 1 1 1\n"), "accepted 1"),
    ] {
        let mut cache = cache(CacheConfig::default());
        assert_eq!(cache_util::word(&apply(&mut cache, &rec, 0)), word, "{rec:?}");
        assert_eq!(cache.position(), 1);
    }
}

#[test]
fn compressed_bodies() {
    use std::io::Write;
    let text = "m 1\n".repeat(10) + "n 2\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
    let snappy = snap::raw::Encoder::new().compress_vec(text.as_bytes()).unwrap();
    for (encoding, body) in [("gzip", gzip), ("zstd", zstd), ("snappy", snappy)] {
        for (limit, expected) in [(44, "accepted 2"), (43, "refused too_large")] {
            let limits = Limits { dump_bytes: limit, ..Limits::default() };
            let mut rec = Rec::new(0, A, 0, "").header("content-encoding", encoding);
            rec.value = body.clone();
            let mut cache = cache(limited(limits));
            assert_eq!(word(&apply(&mut cache, &rec, 0)), expected, "{encoding}");
            rec.value.truncate(body.len() - 3);
            rec.offset = 1;
            assert!(word(&apply(&mut cache, &rec, 0)).starts_with("refused "), "{encoding}");
        }
    }
    // Each part by itself.
    let part = |offset, header, encoding: &str, value: Vec<u8>| {
        let mut rec = Rec::new(offset, A, 0, "").part(header).header("content-encoding", encoding);
        rec.value = value;
        rec
    };
    let zstd = zstd::bulk::compress(b"m 1\n", 1).unwrap();
    plain(
        &[(part(0, "1/2;x", "zstd", zstd), "pending"), (part(1, "2/2;x", "identity", b"n 2\n".to_vec()), "accepted 2")],
        "m{i=\"a\"} 1\nn{i=\"a\"} 2",
    );
}

#[test]
fn keys_that_are_no_label_sets() {
    let fixed = CacheConfig { fixed: Labels::parse(r#"region="eu",instance="f""#).unwrap(), ..CacheConfig::default() };
    for (config, key, shown) in [
        (CacheConfig::default(), "host:1", "m{instance=\"host:1\"} 1"),
        (CacheConfig::default(), "", "m 1"),
        (CacheConfig::default(), "a\"b\n", "m{instance=\"a\\\"b\\n\"} 1"),
        (fixed.clone(), "host:1", "m{instance=\"f\",region=\"eu\"} 1"),
        (fixed, r#"region="us",i="1""#, "m{i=\"1\",instance=\"f\",region=\"eu\"} 1"),
    ] {
        check(config, &[(Rec::new(0, key, 0, "m 1\n"), "accepted 1")], shown);
    }
    // One origin, however its key is spelled.
    plain(
        &[
            (Rec::new(0, "host", 0, "m 1\n"), "accepted 1"),
            (Rec::new(1, r#"instance="host""#, 1, "m 2\n"), "accepted 1"),
            (Rec::new(2, r#" instance = "host", "#, 2, "m 3\n"), "accepted 1"),
        ],
        "m{instance=\"host\"} 3",
    );
}

#[test]
fn parts() {
    let part = |offset, time, text: &str, header: &str| Rec::new(offset, A, time, text).part(header);
    plain(
        &[
            (part(0, 0, "m 1\n", "1/3;x"), "pending"),
            (Rec::new(1, B, 0, "m 9\n"), "accepted 1"),
            (part(2, 0, "n 2", "2/3;x"), "pending"),
            (part(3, 0, "n 2", "2/3;x"), "dropped duplicate"),
            (part(4, 0, "o 3\n", "3/3;x"), "accepted 3"),
        ],
        "m{i=\"a\"} 1\nm{i=\"b\"} 9\nn{i=\"a\"} 2\no{i=\"a\"} 3",
    );
    plain(&[(part(0, 0, "m 1\n", "1/1;x"), "accepted 1")], "m{i=\"a\"} 1");
    plain(&[(part(0, 0, "m 1\n", "2/2;x"), "dropped incomplete_parts")], "");
    for end in ["# EOF\n", ""] {
        let first = format!("m 1\n{end}");
        plain(
            &[(part(0, 0, &first, "1/2;x"), "pending"), (part(1, 0, "n 2\n# EOF\n", "2/2;x"), "accepted 2")],
            "m{i=\"a\"} 1\nn{i=\"a\"} 2",
        );
    }
    // Together over the limit, each alone below it.
    let small = limited(Limits { dump_bytes: 7, ..Limits::default() });
    check(small, &[(part(0, 0, "m 1\n", "1/2;x"), "pending"), (part(1, 0, "n 2\n", "2/2;x"), "refused too_large")], "");
    // The last part's time counts.
    plain(
        &[
            (Rec::new(0, A, 5, "m 0\n"), "accepted 1"),
            (part(1, 4, "m 1\n", "1/2;x"), "pending"),
            (part(2, 4, "n 2\n", "2/2;x"), "dropped older"),
        ],
        "m{i=\"a\"} 0",
    );
}

#[test]
fn unfinished_parts_are_counted_when_they_go() {
    let begin = || Rec::new(0, A, 0, "m 1\n").part("1/3;x");
    let second = || Rec::new(1, A, 0, "n 1\n").part("2/3;x");
    for (next, dropped) in [
        (Rec::new(2, A, 1, "m 2\n"), 2),
        (Rec::new(2, A, 1, ""), 2),
        (Rec::new(2, A, 1, "m 2\n").part("1/2;y"), 2),
        (Rec::new(2, A, 1, "m 2\n").part("2/2;y"), 0),
        (Rec::new(2, B, 1, "m 2\n"), 0),
    ] {
        let mut cache = cache(CacheConfig::default());
        apply(&mut cache, &begin(), 0);
        apply(&mut cache, &second(), 0);
        assert_eq!(apply(&mut cache, &next, 0).incomplete, dropped, "{next:?}");
    }
    let mut cache = cache(CacheConfig::default());
    apply(&mut cache, &begin(), 0);
    let gap = apply(&mut cache, &Rec::new(1, A, 0, "n 1\n").part("3/3;x"), 0);
    assert_eq!((word(&gap).as_str(), gap.incomplete), ("dropped incomplete_parts", 1));
    apply(&mut cache, &begin(), 0);
    assert_eq!(cache.expire(now(10 * MIN)).incomplete, 0);
    assert_eq!(cache.expire(now(10 * MIN + 1)).incomplete, 1);
}

#[test]
fn silent_origins_go_and_are_forgotten_later() {
    let mut cache = cache(CacheConfig::default());
    apply(&mut cache, &Rec::new(0, A, 0, "m 1\n"), 0);
    for time in 0..5 {
        let at = time * MIN;
        apply(&mut cache, &Rec::new(1 + time, B, at, "m 2\n"), at);
    }
    // A has no interval yet: 90 s. B sends every minute: 3 min after its last.
    assert!(!cache.expire(now(90_000)).changed());
    assert_eq!(cache.expire(now(90_001)).stale, [A.into()]);
    assert_eq!(samples(&cache.view()), "m{i=\"b\"} 2");
    assert_eq!(cache.view().series, 1);
    assert!(!cache.expire(now(7 * MIN)).changed());
    assert_eq!(cache.expire(now(7 * MIN + 1)).stale, [B.into()]);
    let view = cache.view();
    assert_eq!((view.series, view.origins.len()), (0, 2));
    assert!(view.bytes < 2048, "keys and labels: {} bytes", view.bytes);
    assert_eq!(view.origins[A].dump_time, T0);
    assert!(!cache.expire(now(24 * 60 * MIN)).changed());
    assert_eq!(cache.expire(now(24 * 60 * MIN + 1)).forgotten, [A.into()]);
    assert_eq!(cache.view().origins.len(), 1);
    // It may come back.
    apply(&mut cache, &Rec::new(9, A, 0, "m 3\n"), 24 * 60 * MIN);
    assert_eq!(samples(&cache.view()), "m{i=\"a\"} 3");
}

#[test]
fn configured_staleness() {
    let mut cache = cache(CacheConfig { staleness: Staleness::After(5), forget_after: 10, ..CacheConfig::default() });
    apply(&mut cache, &Rec::new(0, A, 0, "m 1\n"), 0);
    assert!(!cache.expire(now(5)).changed());
    assert_eq!(cache.expire(now(6)).stale, [A.into()]);
    assert_eq!(cache.expire(now(11)).forgotten, [A.into()]);
}

#[test]
fn while_catching_up_a_dump_is_as_old_as_its_place_in_the_log() {
    let mut cache = cache(CacheConfig::default());
    cache.set_live(false);
    // B's clock is an hour slow, but its neighbour shows how late it is.
    apply(&mut cache, &Rec::new(0, A, 0, "m 1\n"), 5 * MIN);
    apply(&mut cache, &Rec::new(1, r#"i="c""#, 5 * MIN, "m 3\n"), 5 * MIN);
    apply(&mut cache, &Rec::new(2, B, -60 * MIN, "m 2\n"), 5 * MIN);
    cache.set_live(true);
    assert_eq!(cache.expire(now(5 * MIN)).stale, [A.into()]);
    assert_eq!(samples(&cache.view()), "m{i=\"b\"} 2\nm{i=\"c\"} 3");
}

#[test]
fn low_water() {
    let mut cache = cache(CacheConfig::default());
    let mut steps = vec![
        (Rec::new(10, A, 0, "m 1\n"), 10),
        (Rec::new(11, B, 0, "m 1\n"), 10),
        (Rec::new(12, A, 1, "m 2\n"), 11),
        (Rec::new(13, B, 1, "{\n"), 11),
        (Rec::new(14, B, 2, ""), 12),
        (Rec::new(15, B, 3, "m 1\n").part("1/2;x"), 12),
        (Rec::new(16, A, 4, "m 3\n"), 15),
        (Rec::new(17, A, 5, "m 3\n"), 15),
        // A dump in parts begins with its first part.
        (Rec::new(18, B, 6, "n 1\n").part("2/2;x"), 15),
        (Rec::new(19, B, 7, "n 1\n"), 17),
    ];
    for (rec, expected) in steps.drain(..) {
        apply(&mut cache, &rec, 0);
        assert_eq!(cache.low_water(now(0)), expected, "{rec:?}");
        assert_eq!(cache.position(), rec.offset + 1);
    }
    assert_eq!(cache.low_water(now(10 * MIN)), 17);
    assert_eq!(cache.low_water(now(10 * MIN + 1)), 20);
}

#[test]
fn an_earlier_owner_s_catalogue_keeps_older_dumps_out() {
    let mut first = cache(CacheConfig::default());
    for at in [0, 10 * MIN, 20 * MIN] {
        apply(&mut first, &Rec::new(at, A, at, "m 1\n"), at);
    }
    apply(&mut first, &Rec::new(20 * MIN + 1, A, 0, ""), 20 * MIN);
    let entries: Vec<CatalogueEntry> = first.catalogue().collect();
    assert_eq!((entries[0].interval, entries[0].deleted), (Some(10 * MIN), true));
    let mut second = cache(CacheConfig::default());
    second.seed(entries, now(21 * MIN));
    assert!(!second.view().origins.contains_key(A), "it was deleted: nobody misses it");
    let late = apply(&mut second, &Rec::new(5, A, 19 * MIN, "m 2\n"), 21 * MIN);
    assert_eq!(word(&late), "dropped older");
    let next = apply(&mut second, &Rec::new(6, A, 21 * MIN, "m 2\n"), 21 * MIN);
    assert_eq!(word(&next), "accepted 1");
    assert!(!second.expire(now(30 * MIN)).changed());
}

/// Rule 10, with the partition that A's key has among four.
#[test]
fn what_belongs_to_another_partition_since_is_not_shown() {
    let here = partition_of(A.as_bytes(), 4).unwrap();
    let elsewhere = (5..).find(|count| partition_of(A.as_bytes(), *count) != Some(here)).unwrap();
    let stays = (5..).find(|count| partition_of(A.as_bytes(), *count) == Some(here)).unwrap();
    let case = |former: &[i32], now_count: i32, expected: &str| {
        let mut cache = PartitionCache::new("t".into(), here, 0, CacheConfig::default());
        apply(&mut cache, &Rec::new(0, A, 0, "m 1\n"), 0);
        let gone = expected == "dropped repartitioned";
        assert_eq!(cache.repartitioned(former.into(), now_count), usize::from(gone));
        assert_eq!(cache.living(), usize::from(!gone), "{former:?} {now_count}");
        let next = Rec::new(1, A, 1, "m 2\n");
        assert_eq!(word(&apply(&mut cache, &next, 1)), expected, "{former:?} {now_count}");
        assert_eq!(cache.position(), 2);
        let entry = CatalogueEntry {
            record_key: A.as_bytes().into(),
            dump_time: T0,
            offset: 0,
            interval: None,
            deleted: false,
        };
        let mut seeded = PartitionCache::new("t".into(), here, 0, CacheConfig::default());
        seeded.repartitioned(former.into(), now_count);
        seeded.seed([entry], now(0));
        assert_eq!(seeded.view().origins.len(), usize::from(!gone));
    };
    case(&[], elsewhere, "accepted 1");
    case(&[4], stays, "accepted 1");
    case(&[4], elsewhere, "dropped repartitioned");
    case(&[1000, 4], elsewhere, "dropped repartitioned");
    // It never was this partition's by its key: whoever sends it here goes on to.
    case(&[elsewhere], elsewhere, "accepted 1");
}

#[test]
fn refusals_are_kept_as_data() {
    let mut cache = cache(CacheConfig::default());
    // While it is live one origin's would not all be read.
    cache.set_live(false);
    apply(&mut cache, &Rec::new(0, A, 0, "m 1\n"), 0);
    for offset in 1..=60 {
        apply(&mut cache, &Rec::new(offset, A, offset, "{\n"), offset);
    }
    assert_eq!(cache.refusals().len(), KEPT_REFUSALS);
    let last = cache.refusals().last().unwrap();
    assert_eq!((last.offset, last.time, last.origin.as_deref()), (60, T0 + 60, Some(A)));
    let view = cache.view();
    assert_eq!(view.origins[A].last_refusal.as_deref(), Some(last.detail.as_ref()));
    apply(&mut cache, &Rec::new(61, A, 61, "m 1\n"), 0);
    assert_eq!(cache.view().origins[A].last_refusal, None);
}

#[test]
fn a_view_stays_as_it_was() {
    let mut cache = cache(CacheConfig::default());
    apply(&mut cache, &Rec::new(0, A, 0, "m 1\n"), 0);
    let before = cache.view();
    apply(&mut cache, &Rec::new(1, A, 1, "m 2\nn 2\n"), 0);
    apply(&mut cache, &Rec::new(2, B, 1, "m 2\n"), 0);
    let between = cache.view();
    apply(&mut cache, &Rec::new(3, A, 1, ""), 0);
    cache.expire(now(100 * MIN));
    assert_eq!(samples(&before), "m{i=\"a\"} 1");
    assert_eq!(samples(&between), "m{i=\"a\"} 2\nm{i=\"b\"} 2\nn{i=\"a\"} 2");
    assert_eq!(samples(&cache.view()), "");
    assert_eq!((before.series, before.position), (1, 1));
    assert_eq!((between.series, between.position), (3, 3));
}
