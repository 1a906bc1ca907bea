//! Which sources can have a series in common at all.
//!
//! All labels of an origin are injected into its samples (those where a body's label
//! won are looked at apart). Two origins that have a label name in common, with
//! different values, therefore never have the same series. Sources are grouped by
//! their set of label names; within two groups, only sources that agree on every
//! common name are suspects. With k sets of names and n sources that costs k·n.
use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;

use super::Source;

/// More sets of label names than this are not compared pair by pair: everyone is a
/// suspect then, which costs hashing but is never wrong.
const MAX_GROUPS: usize = 64;

/// Per source, whether another one may have the same series. A source without labels
/// (the bridge's own metrics) is left out: the plan compares it family by family.
pub(super) fn find(sources: &[Source]) -> Vec<bool> {
    let mut suspects = vec![false; sources.len()];
    let mut groups: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
    // Neighbours mostly have the same names.
    let mut run: (Vec<&str>, Vec<usize>) = Default::default();
    for (i, source) in sources.iter().enumerate() {
        if source.labels.is_empty() {
            continue;
        }
        if !source.labels.iter().map(|(name, _)| name).eq(run.0.iter().copied()) {
            let names = source.labels.iter().map(|(name, _)| name).collect();
            let (names, members) = std::mem::replace(&mut run, (names, Vec::new()));
            groups.entry(names).or_default().extend(members);
        }
        run.1.push(i);
    }
    groups.entry(run.0).or_default().extend(run.1);
    groups.remove(&Vec::new());
    if groups.len() > MAX_GROUPS {
        return vec![true; sources.len()];
    }
    let groups: Vec<_> = groups.into_iter().collect();
    for (i, (names, members)) in groups.iter().enumerate() {
        mark_twins(sources, members, &mut suspects);
        for (others, other_members) in groups.iter().skip(i + 1) {
            let common: Vec<&str> = names.iter().filter(|n| others.contains(n)).copied().collect();
            let mine: HashSet<_> = members.iter().map(|m| project(&sources[*m], &common)).collect();
            let mut shared = HashSet::new();
            for other in other_members {
                let values = project(&sources[*other], &common);
                if mine.contains(&values) {
                    suspects[*other] = true;
                    shared.insert(values);
                }
            }
            for member in members {
                suspects[*member] |= shared.contains(&project(&sources[*member], &common));
            }
        }
    }
    suspects
}

/// Sources with the very same labels: one origin in two topics, say.
fn mark_twins(sources: &[Source], members: &[usize], suspects: &mut [bool]) {
    let mut first: HashMap<&str, usize, RandomState> = HashMap::default();
    for member in members {
        let known = *first.entry(sources[*member].labels.canonical()).or_insert(*member);
        if known != *member {
            suspects[known] = true;
            suspects[*member] = true;
        }
    }
}

fn project<'a>(source: &'a Source, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|name| source.labels.get(name).unwrap_or("")).collect()
}
