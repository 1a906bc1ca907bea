//! Simulated short jobs, which push what they did to whichever bridge answers: a nightly backup
//! of three databases, and a migration whose group expires.
use std::fmt::Write;
use std::time::Duration;

use hyper::Request;
use k2p_runtime::clock::unix_ms;
use k2p_runtime::http::client::{ClientConfig, HttpClient};
use k2p_runtime::http::full;
use k2p_runtime::shutdown::Shutdown;

/// The topic that they need.
pub(crate) const PUSHES: &str = "k2p.push";

/// The pace of the jobs: each second one may end.
const TICK: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(15);
/// Seconds between two runs of a job, and until a migration's group expires.
const BACKUP_EVERY: u64 = 20;
const MIGRATION_EVERY: u64 = 60;
const MIGRATION_TTL: &str = "30s";

const DATABASES: [&str; 3] = ["orders", "customers", "invoices"];

/// What one job pushes when it ends.
struct Ended {
    /// Its group's path below `/metrics/`.
    group: String,
    ttl: Option<&'static str>,
    body: String,
}

/// Pushes until the shutdown.
pub(crate) async fn run(bridges: Vec<String>, shutdown: Shutdown) {
    let Ok(client) = HttpClient::new(&ClientConfig::default()) else { return };
    for tick in 0_u64.. {
        for job in ended(tick, unix_ms() / 1000) {
            push(&client, &bridges, &job).await;
        }
        tokio::select! {
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// A bridge that is gone or busy leaves the push to the other one.
async fn push(client: &HttpClient, bridges: &[String], job: &Ended) {
    for bridge in bridges {
        let mut request = Request::put(format!("{bridge}metrics/{}", job.group));
        if let Some(ttl) = job.ttl {
            request = request.header("k2p-ttl", ttl);
        }
        let Ok(request) = request.body(full(job.body.clone())) else { return };
        if client.send(request, TIMEOUT).await.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
    }
}

/// The jobs that end in this second. `now` in Unix seconds.
fn ended(tick: u64, now: i64) -> Vec<Ended> {
    let mut all = Vec::new();
    for (number, database) in (0_u64..).zip(DATABASES) {
        if tick % BACKUP_EVERY == number {
            all.push(Ended {
                group: format!("job/backup/database/{database}"),
                ttl: None,
                body: backup(tick, number, now),
            });
        }
    }
    if tick % MIGRATION_EVERY == 5 {
        let body = format!("# TYPE migration_rows gauge\nmigration_rows {}\n", 1000 + tick);
        all.push(Ended { group: "job/migration".to_owned(), ttl: Some(MIGRATION_TTL), body });
    }
    all
}

fn backup(tick: u64, number: u64, now: i64) -> String {
    let mut body = String::new();
    for (name, help, value) in [
        ("backup_last_success_timestamp_seconds", "When the last backup ended well.", now.to_string()),
        ("backup_duration_seconds", "What the last backup took.", (3 + (tick / BACKUP_EVERY + number) % 4).to_string()),
        (
            "backup_size_bytes",
            "What the last backup weighs.",
            ((number + 1) * 4_000_000_000 + tick * 70_000).to_string(),
        ),
    ] {
        let _ = write!(body, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
    }
    body
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use k2p_core::compress::Encoding;
    use k2p_push::GroupingKey;
    use k2p_push::body::{Body, read};

    #[test]
    fn every_push_is_one_that_a_bridge_takes() {
        let mut pushed = 0;
        for tick in 0..120 {
            for job in ended(tick, 1_760_000_000) {
                let key = GroupingKey::from_path(&job.group).unwrap();
                let body = Body { content_type: None, encoding: Encoding::Identity, bytes: job.body.as_bytes() };
                assert!(!read(&key, &body).unwrap().is_empty());
                pushed += 1;
            }
        }
        assert_eq!(pushed, 20);
    }
}
