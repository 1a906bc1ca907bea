//! What the records of one origin amount to, told without reading a dump.
use super::Group;
use crate::cache::{Dump, PartitionCache, Taken, older};
use crate::envelope::{self, Envelope, Op, RawRecord};
use crate::model::UnixMs;
use crate::parts::{Piece, Progress, Step};
use crate::reason::{DropReason, Refusal};

/// What one origin's records amount to, in order.
pub(super) enum Event<'a> {
    /// A complete dump: its records, and what reading it gave, once it was tried.
    Dump {
        records: Vec<usize>,
        dump: Dump<'a>,
        /// Bytes of parts that are more than may be kept.
        overflow: Option<usize>,
        refusal: Option<Refusal>,
    },
    Delete {
        record: usize,
    },
    Bad {
        record: usize,
        refusal: Refusal,
    },
    /// A record that changes nothing but counters.
    Nothing {
        record: usize,
        reason: DropReason,
    },
    /// Parts of a dump that is not complete yet; only the last event may be one.
    Unfinished {
        records: Vec<usize>,
    },
}

/// The events of a group whose times, from the cached dump's on, never go back; `None`
/// if they do.
pub(super) fn events<'a>(cache: &PartitionCache, raws: &[RawRecord<'a>], group: &Group) -> Option<Vec<Event<'a>>> {
    let mut reader = Reader { limit: cache.dump_bytes(), events: Vec::new(), open: None };
    for (at, log_time) in group.records.iter().zip(&group.log_times) {
        reader.record(*at, &raws[*at], *log_time);
    }
    if let Some(open) = reader.open.take() {
        reader.events.push(Event::Unfinished { records: open.records });
    }
    let mut newest = cache.newest_time(&group.identity.key);
    let mut moved = false;
    for event in &mut reader.events {
        let Event::Dump { records, dump, .. } = event else {
            continue;
        };
        let time = dump.at.dump_time;
        // Before any other dump was taken, rule 8 can be told without reading.
        if !moved && newest.is_some_and(|newest| older(time, newest)) {
            dump.pieces.clear();
            continue;
        }
        moved = true;
        if newest.is_some_and(|newest| time < newest) || records.is_empty() {
            return None;
        }
        newest = Some(time);
    }
    Some(reader.events)
}

/// Turns records into events, by the same steps as a cache.
struct Reader<'a> {
    limit: usize,
    events: Vec<Event<'a>>,
    open: Option<Open<'a>>,
}

struct Open<'a> {
    progress: Progress,
    records: Vec<usize>,
    content_type: Option<&'a str>,
    first_offset: i64,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Reader<'a> {
    fn record(&mut self, at: usize, raw: &RawRecord<'a>, log_time: UnixMs) {
        let envelope = match envelope::open(raw) {
            Ok(envelope) => envelope,
            Err(refusal) => {
                self.events.push(Event::Bad { record: at, refusal });
                return;
            }
        };
        let piece = Piece { encoding: envelope.encoding, body: envelope.body };
        if envelope.part.is_some() {
            self.part(at, &envelope, piece, log_time);
            return;
        }
        self.drop_open();
        if envelope.op == Op::Delete {
            self.events.push(Event::Delete { record: at });
            return;
        }
        self.complete(
            Open {
                progress: Progress::whole(),
                records: vec![at],
                content_type: envelope.content_type,
                first_offset: envelope.offset,
                pieces: vec![piece],
            },
            &envelope,
            log_time,
        );
    }

    fn part(&mut self, at: usize, envelope: &Envelope<'a>, piece: Piece<'a>, log_time: UnixMs) {
        let Some(part) = &envelope.part else {
            return;
        };
        match Progress::step(self.open.as_ref().map(|o| &o.progress), part) {
            Step::Repeat => self.nothing(at, DropReason::Duplicate),
            Step::Stray => self.nothing(at, DropReason::IncompleteParts),
            Step::Gap => {
                self.drop_open();
                self.nothing(at, DropReason::IncompleteParts);
            }
            Step::Begin => {
                self.drop_open();
                self.open = Some(Open {
                    progress: Progress::begin(part),
                    records: vec![at],
                    content_type: envelope.content_type,
                    first_offset: envelope.offset,
                    pieces: vec![piece],
                });
            }
            Step::Next => {
                if let Some(open) = &mut self.open {
                    open.progress.advance();
                    open.records.push(at);
                    open.pieces.push(piece);
                }
            }
        }
        if let Some(open) = self.open.take_if(|o| o.progress.finished()) {
            self.complete(open, envelope, log_time);
        }
    }

    fn complete(&mut self, open: Open<'a>, last: &Envelope<'a>, log_time: UnixMs) {
        let bytes: usize = open.pieces.iter().map(|p| p.body.len()).sum();
        self.events.push(Event::Dump {
            overflow: (last.part.is_some() && bytes > self.limit).then_some(bytes),
            refusal: None,
            records: open.records,
            dump: Dump {
                content_type: open.content_type,
                pieces: open.pieces,
                at: Taken { dump_time: last.dump_time, offset: last.offset, first_offset: open.first_offset, log_time },
            },
        });
    }

    fn nothing(&mut self, record: usize, reason: DropReason) {
        self.events.push(Event::Nothing { record, reason });
    }

    fn drop_open(&mut self) {
        for record in self.open.take().into_iter().flat_map(|open| open.records) {
            self.nothing(record, DropReason::IncompleteParts);
        }
    }
}
