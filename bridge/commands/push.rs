//! `kafka2prom push import`
use k2p_push::body::{Body, read};
use k2p_push::gob::{self, Stored};

use super::{Done, Failure, kafka_config};
use crate::cli::{PushCommand, PushImportArgs};

pub(crate) fn run(command: &PushCommand) -> Done {
    match command {
        PushCommand::Import(args) => import(args),
    }
}

fn import(args: &PushImportArgs) -> Done {
    let file = args.file.display();
    let bytes = std::fs::read(&args.file).map_err(|error| {
        Failure::failed(format_args!("{file} cannot be read: {error}; name the Pushgateway's file"))
    })?;
    let groups = gob::read(&bytes).map_err(|error| Failure::failed(format_args!("{file}: {error}")))?;
    // All or nothing: a bridge would refuse such a record, and count it.
    let faults: Vec<String> = groups.iter().filter_map(fault).collect();
    if !faults.is_empty() {
        return Err(Failure::failed(format_args!("{file}: nothing was imported:\n{}", faults.join("\n"))));
    }
    if args.dry_run {
        for group in &groups {
            println!("{}", group.key.canonical());
        }
        println!("{} groups could be imported", groups.len());
        return Ok(());
    }
    let kafka = kafka_config(&args.kafka, None)?;
    k2p_server::import(&kafka, &args.topic, &groups).map_err(Failure::failed)?;
    println!("{} groups are in {}", groups.len(), args.topic);
    Ok(())
}

/// Why a bridge would not take it.
fn fault(group: &Stored) -> Option<String> {
    let body = Body { bytes: group.body.as_bytes(), ..Body::default() };
    read(&group.key, &body).err().map(|error| format!("  {}: {error}", group.key.canonical()))
}
