//! Planted bugs, each of which the checker must catch, and sound histories that look
//! suspicious, about which it must stay silent.
use super::{CommitRead, Frozen, History, Limits, Route, Rule, Scrape, Sending, Sighting, check};

/// One millisecond.
const MS: u64 = 1000;

/// Origin 0 sends 1, 2, 3 … every 100 ms to partition 0, at offsets 0, 1, 2 …
fn sent(count: u64) -> History {
    let one = |n: u64| Sending {
        origin: 0,
        seq: n + 1,
        begun: n * 100 * MS,
        acked: n * 100 * MS + 5 * MS,
        partition: 0,
        offset: i64::try_from(n).unwrap(),
        promised: true,
    };
    History { sent: (0..count).map(one).collect(), ..History::default() }
}

fn shown(bridge: u32, start_ms: u64, head_ms: u64, seq: u64) -> Scrape {
    let shown = vec![Sighting { origin: 0, seq, whole: true, samples: 1 }];
    Scrape { bridge, route: Route::Metrics, start: start_ms * MS, head: head_ms * MS, shown }
}

fn dark(bridge: u32, start_ms: u64, head_ms: u64) -> Scrape {
    Scrape { shown: Vec::new(), ..shown(bridge, start_ms, head_ms, 0) }
}

fn on_partition(scrape: Scrape) -> Scrape {
    Scrape { route: Route::Partition, ..scrape }
}

/// The rules that these scrapes break, after ten dumps were sent.
fn broken(scrapes: Vec<Scrape>) -> Vec<Rule> {
    broken_in(&History { scrapes, ..sent(10) })
}

fn broken_in(history: &History) -> Vec<Rule> {
    let limits = Limits { stale_after: 5000 * MS, ..Limits::default() };
    check(history, &limits).broken().into_iter().collect()
}

const SOUND: Vec<Rule> = Vec::new();

#[test]
fn a_value_that_nobody_sent_is_invented() {
    assert_eq!(broken(vec![shown(0, 2000, 2010, 11)]), [Rule::Invented]);
    let stranger =
        Scrape { shown: vec![Sighting { origin: 7, seq: 1, whole: true, samples: 1 }], ..dark(0, 2000, 2010) };
    assert_eq!(broken(vec![stranger]), [Rule::Invented]);
}

#[test]
fn a_value_before_it_was_sent_is_invented() {
    assert_eq!(broken(vec![shown(0, 50, 80, 2)]), [Rule::Invented]);
    assert_eq!(broken(vec![shown(0, 50, 101, 2)]), SOUND, "sent while the scrape was under way");
}

#[test]
fn an_older_value_after_a_newer_one_is_caught_across_bridges() {
    assert_eq!(broken(vec![shown(0, 1000, 1010, 5), shown(1, 1020, 1030, 4)]), [Rule::Older]);
    assert_eq!(broken(vec![shown(0, 1000, 1010, 5), shown(0, 1020, 1030, 4)]), [Rule::Older]);
    // The order of the record is not the order of time.
    assert_eq!(broken(vec![shown(1, 1020, 1030, 4), shown(0, 1000, 1010, 5)]), [Rule::Older]);
}

#[test]
fn an_older_value_is_caught_across_routes_and_a_long_hole() {
    let far = shown(1, 9000, 9010, 4);
    assert_eq!(broken(vec![shown(0, 1000, 1010, 5), dark(1, 1500, 1510), on_partition(far.clone())]), [Rule::Older]);
    assert_eq!(broken(vec![on_partition(shown(0, 1000, 1010, 5)), far]), [Rule::Older]);
}

#[test]
fn only_the_newest_of_all_before_counts() {
    let history = vec![shown(0, 1000, 1010, 5), shown(0, 1100, 1110, 9), shown(1, 1200, 1210, 8)];
    assert_eq!(broken(history), [Rule::Older]);
}

#[test]
fn scrapes_that_overlap_may_show_either() {
    assert_eq!(broken(vec![shown(0, 1000, 1100, 5), shown(1, 1050, 1060, 4)]), SOUND);
    assert_eq!(broken(vec![shown(0, 1000, 1100, 5), shown(1, 1100, 1160, 4)]), SOUND);
}

/// Prometheus stamps with the start: a long answer of `/metrics` looked at its start.
#[test]
fn starts_order_metrics_but_not_routes_that_wait() {
    let slow = shown(0, 1000, 8000, 5);
    let older = shown(1, 4000, 4010, 4);
    assert_eq!(broken(vec![slow.clone(), older.clone()]), [Rule::Older]);
    assert_eq!(broken(vec![on_partition(slow.clone()), older.clone()]), SOUND, "it may have waited");
    let frozen = vec![Frozen { bridge: 0, from: 900 * MS, to: 7000 * MS }];
    assert_eq!(broken_in(&History { scrapes: vec![slow, older], frozen, ..sent(10) }), SOUND, "it accepted late");
}

#[test]
fn two_dumps_in_one_answer_are_torn() {
    let torn = Scrape { shown: vec![Sighting { origin: 0, seq: 4, whole: false, samples: 1 }], ..dark(0, 1000, 1010) };
    assert_eq!(broken(vec![torn]), [Rule::Torn]);
}

#[test]
fn a_partition_is_shown_whole_or_not_at_all() {
    let second = |s: &Sending| Sending { origin: 1, offset: s.offset + 100, ..*s };
    let mut both = sent(10);
    both.sent.extend(both.sent.clone().iter().map(second));
    let seen = |origins: &[u32]| {
        let one = |&origin: &u32| Sighting { origin, seq: 5, whole: true, samples: 1 };
        let scrapes = vec![Scrape { shown: origins.iter().map(one).collect(), ..dark(0, 1000, 1010) }];
        History { scrapes, whole_since: Some(1000 * MS), ..both.clone() }
    };
    assert_eq!(broken_in(&seen(&[0, 1])), SOUND);
    assert_eq!(broken_in(&seen(&[])), SOUND);
    assert_eq!(broken_in(&seen(&[1])), [Rule::Partial]);
    assert_eq!(broken_in(&History { whole_since: None, ..seen(&[1]) }), SOUND, "it was not promised");
    assert_eq!(broken_in(&History { whole_since: Some(1001 * MS), ..seen(&[1]) }), SOUND, "nor then");
}

/// Bridges 0 and 1 in turn, every `pause` ms.
fn in_turn(pause: u64) -> Vec<Scrape> {
    (0..6).map(|n| shown(u32::try_from(n % 2).unwrap(), 1000 + n * pause, 1005 + n * pause, 5)).collect()
}

#[test]
fn an_origin_at_two_bridges_at_once_is_caught() {
    assert_eq!(broken(in_turn(25)), [Rule::TwoOwners]);
    assert_eq!(broken(in_turn(60)), [Rule::TwoOwners]);
}

#[test]
fn an_origin_that_moves_is_at_one_bridge_at_a_time() {
    assert_eq!(broken(in_turn(500)), SOUND);
    let there_and_back = vec![shown(0, 1000, 1005, 5), shown(1, 1030, 1035, 5), shown(0, 1060, 1065, 5)];
    assert_eq!(broken(there_and_back), SOUND);
    // The same moments as in the case above, but nobody knows their order.
    let overlapping = (0..6).map(|n| shown(n % 2, 1000 + u64::from(n) * 25, 1100 + u64::from(n) * 25, 5)).collect();
    assert_eq!(broken(overlapping), SOUND);
}

#[test]
fn a_silent_origin_must_go() {
    let silent = |start| History { silent: [0].into(), scrapes: vec![shown(0, start, start + 10, 10)], ..sent(10) };
    assert_eq!(broken_in(&silent(5800)), SOUND);
    assert_eq!(broken_in(&silent(5910)), [Rule::Stale]);
    assert_eq!(broken_in(&History { silent: Default::default(), ..silent(5910) }), SOUND, "it is not silent");
}

#[test]
fn the_last_value_must_be_shown_in_the_end_and_once() {
    let end = |scrapes| broken_in(&History { settled: Some(3000 * MS), scrapes, ..sent(10) });
    assert_eq!(end(vec![shown(0, 3000, 3010, 10)]), SOUND);
    assert_eq!(end(vec![shown(0, 3000, 3010, 9)]), [Rule::Lost]);
    assert_eq!(end(vec![dark(0, 3000, 3010)]), [Rule::Lost]);
    assert_eq!(end(vec![shown(0, 2900, 3010, 10)]), [Rule::Lost], "only before the end");
    assert_eq!(end(vec![shown(0, 3000, 3010, 10), shown(1, 3000, 3010, 10)]), [Rule::Lost], "twice");
    let silent = History { silent: [0].into(), settled: Some(3000 * MS), ..sent(10) };
    assert_eq!(broken_in(&silent), SOUND, "a silent origin has no end");
}

#[test]
fn nothing_below_a_commit_may_be_missing_afterwards() {
    let after = |read_ms: u64, offset, scrape| {
        let commits = vec![CommitRead { read: read_ms * MS, partition: 0, offset }];
        broken_in(&History { commits, scrapes: vec![scrape], ..sent(10) })
    };
    // Offset 5 is the value 6: everything up to 5 was to be scrapable.
    assert_eq!(after(1000, 5, shown(0, 1010, 1020, 5)), SOUND);
    assert_eq!(after(1000, 6, shown(0, 1010, 1020, 5)), [Rule::CommittedEarly]);
    assert_eq!(after(1015, 6, shown(0, 1010, 1020, 5)), SOUND, "the scrape began before");
    assert_eq!(after(1000, 6, dark(0, 1010, 1020)), SOUND, "what is dark shows nothing older");
}

#[test]
fn what_may_be_refused_is_not_promised_by_a_commit() {
    let commits = vec![CommitRead { read: 1000 * MS, partition: 0, offset: 6 }];
    let mut history = History { commits, scrapes: vec![shown(0, 1010, 1020, 5)], ..sent(10) };
    assert_eq!(broken_in(&history), [Rule::CommittedEarly]);
    history.sent[5].promised = false;
    assert_eq!(broken_in(&history), SOUND);
}

#[test]
fn a_commit_that_goes_back_takes_nothing_back() {
    let commits = [(900, 6), (950, 2)].map(|(ms, offset)| CommitRead { read: ms * MS, partition: 0, offset });
    let history = History { commits: commits.into(), scrapes: vec![shown(0, 1010, 1020, 5)], ..sent(10) };
    assert_eq!(broken_in(&history), [Rule::CommittedEarly]);
}

#[test]
fn holes_are_measured_between_bridges() {
    let scrapes = vec![shown(0, 1000, 1010, 5), dark(1, 1020, 1030), shown(0, 1100, 1110, 6), shown(1, 1900, 1910, 9)];
    let history = History { scrapes, ..sent(10) };
    let moves = super::moves(&history);
    assert_eq!(moves.iter().map(|h| (h.partition, h.from, h.to, h.took)).collect::<Vec<_>>(), [(0, 0, 1, 800 * MS)]);
    assert_eq!(super::longest_dark(&history), [(0, 800 * MS)].into());
}
