//! `kafka2prom topics create|check`
use k2p_server::topics::{Purpose, TopicSpec, Topics};

use super::{Done, Failure, kafka_config, process};
use crate::cli::{AcceptLossArgs, TopicsArgs, TopicsCommand};

pub(crate) fn run(command: &TopicsCommand) -> Done {
    let (args, create) = match command {
        TopicsCommand::Create(args) => (args, true),
        TopicsCommand::Check(args) => (args, false),
        TopicsCommand::AcceptLoss(args) => return accept_loss(args),
    };
    let kafka = kafka_config(&args.kafka, None)?;
    let specs = specs(args);
    let runtime = process::tokio_runtime()?;
    let reports = runtime.block_on(async {
        let topics = Topics::new(&kafka).map_err(Failure::failed)?;
        let created = if create { topics.create(&specs).await.map_err(Failure::failed)? } else { Vec::new() };
        topics.check(&specs, &created).await.map_err(Failure::failed)
    })?;
    for report in &reports {
        let state = match (report.created, report.faults.is_empty()) {
            (true, _) => "created",
            (false, true) => "ok",
            (false, false) => "wrong",
        };
        println!("{:<20} {state} ({} partitions)", report.name, report.partitions);
        for fault in &report.faults {
            println!("  {fault}");
        }
    }
    if reports.iter().all(|r| r.faults.is_empty()) { Ok(()) } else { Err(Failure::Silent) }
}

fn accept_loss(args: &AcceptLossArgs) -> Done {
    let kafka = kafka_config(&args.kafka, None)?;
    let accepted = k2p_server::accept_loss(&kafka, &args.state, &args.topic, args.partition);
    println!("{}", accepted.map_err(Failure::failed)?);
    Ok(())
}

fn specs(args: &TopicsArgs) -> Vec<TopicSpec> {
    let all = [
        (&args.topic, Purpose::Metrics, args.partitions),
        (&args.events, Purpose::Events, args.partitions),
        (&args.push, Purpose::Push, args.partitions),
        (&args.deadletter, Purpose::DeadLetter, 1),
        (&args.state, Purpose::State, args.partitions),
    ];
    all.into_iter()
        .filter(|(name, _, _)| !name.is_empty())
        .map(|(name, purpose, partitions)| TopicSpec {
            name: name.clone(),
            purpose,
            partitions,
            replicas: args.replicas,
        })
        .collect()
}
