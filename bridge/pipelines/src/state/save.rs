//! The state written down and read back.
//!
//! Sections: `META` (which partition, up to where, with which templates), `SUBJ`, `RUNS`
//! (JSON), `DEDU`, `SERI` (bytes of their own). All must be known: each is part of what
//! the log says.
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use k2p_core::dedup::Dedup;
use k2p_core::model::UnixMs;

use super::{EventConfig, EventState, Library, series_limits};
use crate::runs::{Loaded, Tracker};
use crate::series::Series;
use crate::snapshot::{Reader, SnapshotError, Writer};

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    topic: Box<str>,
    partition: i32,
    position: i64,
    time: UnixMs,
    templates: Box<str>,
    recorded: bool,
    counted: bool,
}

impl EventState {
    /// The state up to the position; the same state gives the same bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let meta = Meta {
            topic: Box::from(&*self.config.topic),
            partition: self.partition,
            position: self.position,
            time: self.time,
            templates: Box::from(self.templates.hash()),
            recorded: self.recorded,
            counted: self.counted,
        };
        let mut writer = Writer::default();
        writer.section(b"META", &json(&meta));
        writer.section(b"SUBJ", &json(&self.subjects.save()));
        writer.section(b"RUNS", &json(&self.tracker.save()));
        writer.section(b"DEDU", &self.dedup.save());
        writer.section(b"SERI", &self.series.encode());
        writer.finish()
    }

    /// The state that was written down.
    ///
    /// # Errors
    /// [`SnapshotError`]: what is wrong with the bytes, or which templates are missing.
    pub fn restore(
        bytes: &[u8],
        config: Arc<EventConfig>,
        partition: i32,
        library: Library<'_>,
    ) -> Result<EventState, SnapshotError> {
        let known = [b"META", b"SUBJ", b"RUNS", b"DEDU", b"SERI"];
        let reader = Reader::open(bytes, &known, config.snapshot_bytes)?;
        let meta: Meta = parse(&reader, b"META")?;
        if *meta.topic != *config.topic || meta.partition != partition {
            let found = format!("{}/{}", meta.topic, meta.partition);
            return Err(SnapshotError::Foreign { found, wanted: format!("{}/{partition}", config.topic) });
        }
        let Some(templates) = library(&meta.templates) else {
            return Err(SnapshotError::NeedsTemplates(meta.templates.into()));
        };
        let loaded: Vec<Loaded> = parse(&reader, b"RUNS")?;
        let series = Series::decode(reader.get(b"SERI")?, &templates, series_limits(&config, partition));
        let mut state = EventState::new(config, partition, templates);
        state.position = meta.position;
        state.time = meta.time;
        state.recorded = meta.recorded;
        state.counted = meta.counted;
        state.subjects.load(parse(&reader, b"SUBJ")?);
        state.dedup = Dedup::restore(state.config.dedup, reader.get(b"DEDU")?)
            .map_err(|error| SnapshotError::corrupt("DEDU", &error))?;
        state.tracker = Tracker::restore(state.config.runs.clone(), loaded);
        state.series = series.map_err(|error| SnapshotError::corrupt("SERI", &error))?;
        Ok(state)
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Structs of text and numbers: nothing that JSON cannot say.
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<T: DeserializeOwned>(reader: &Reader, tag: &[u8; 4]) -> Result<T, SnapshotError> {
    let name = String::from_utf8_lossy(tag);
    serde_json::from_slice(reader.get(tag)?).map_err(|error| SnapshotError::corrupt(&name, &error))
}
