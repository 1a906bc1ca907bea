//! What topics of pushes need: `push`.
use std::time::Duration;

use k2p_push::ttl::TtlRules;
use k2p_runtime::config::Section;

/// Reads `ttl`: a list of `{job: PATTERN, ttl: DURATION}`, the first that matches counts.
pub(super) fn ttl(section: &Section<'_>) -> TtlRules {
    let mut rules = TtlRules::default();
    let longest = Duration::from_secs(86_400 * 36_500);
    for rule in section.sections("ttl") {
        let there = rule.required("job") & rule.required("ttl");
        let (job, ttl) = (rule.string("job"), rule.duration_in("ttl", Duration::ZERO..=longest));
        let (Some(job), Some(ttl), true) = (job, ttl, there) else { continue };
        if let Err(why) = rules.push(&job, ttl) {
            rule.error(
                "job",
                &format!("no regular expression: {why}"),
                "write one that matches the whole name of a job",
            );
        }
    }
    rules
}
