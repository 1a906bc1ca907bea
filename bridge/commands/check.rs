//! `kafka2prom check config|kafka`
use k2p_server::check::{self, Verdict};
use k2p_server::config::Flags;

use super::{Done, Failure, kafka_config, serve};
use crate::cli::{CheckCommand, CheckKafkaArgs};

pub(crate) fn run(command: &CheckCommand) -> Done {
    match command {
        CheckCommand::Config { file } => {
            let config = serve::load(Some(file), &Flags::default()).map_err(Failure::Usage)?;
            println!("{}: ok, {} topics", file.display(), config.topics.len());
            Ok(())
        }
        CheckCommand::Kafka(args) => kafka(args),
    }
}

fn kafka(args: &CheckKafkaArgs) -> Done {
    let config = kafka_config(&args.kafka, Some(&args.group))?;
    let findings = check::run(&config, &args.topic, |finding| {
        println!("{:<8} {}\n         {}", finding.verdict.as_str(), finding.assumption, finding.found);
    });
    if findings.iter().all(|f| f.verdict == Verdict::Holds) {
        println!("Everything that the promise rests on was seen to hold here.");
        return Ok(());
    }
    println!("The promise was not shown to hold on this cluster: see what is not ok above.");
    Err(Failure::Silent)
}
