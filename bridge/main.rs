//! The binary: arguments, composition, exit codes. The only place that exits.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod demo;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::commands::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Serve(args) => commands::serve::run(&args),
        Command::Agent(args) => commands::agent::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Topics(command) => commands::topics::run(&command),
        Command::Check(command) => commands::check::run(&command),
        Command::Decode(args) => commands::decode::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Logs(args) => commands::logs::run(&args),
        Command::Push(command) => commands::push::run(&command),
        Command::Metrics(args) => commands::metrics::run(&args),
        Command::Completions { shell } => commands::completions::run(shell),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(match failure {
                Failure::Failed(_) | Failure::Silent => 1,
                Failure::Usage(_) => 2,
            })
        }
    }
}
